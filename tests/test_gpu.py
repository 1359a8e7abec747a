"""Extraction and training on a GPU compared with the CPU; skipped on machines without a GPU."""

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foal.extract.encoders.inference import autocast
from foal.extract.encoders.transfer import HostCopy, stack_on_device, to_device
from foal.extract.encoders.weights import find_face_weights
from foal.extract.face.batched.cascade import Cascade, integral_image, resized
from foal.extract.face.batched.resampling import resize_to_squares
from foal.extract.face.batching import FaceBatches
from foal.extract.face.facenet import build_face_extractor
from foal.extract.face.tracker import FrameSample, Track
from foal.extract.media.video import Segment, open_video
from foal.shared.config.settings import FaceSettings
from foal.shared.store.feature_store import FeatureStore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

Foal = Callable[..., "subprocess.CompletedProcess[str]"]
CUDA = torch.device("cuda")

TRAIN = ("--set", "train.epochs=3", "--set", "train.bootstrap=50", "--threads", "1")


def run(foal_in: Foal, folder: Path, *arguments: str | Path) -> None:
    done = foal_in(folder, *arguments)
    assert done.returncode == 0, done.stderr


def extract(foal_in: Foal, folder: Path, corpus: Path, name: str, *options: str) -> Path:
    """Extract all sessions with small random encoders; return the features folder."""
    selection = ("--split", "all", "-m", "m.csv", "-r", corpus, "-j", "1", "--features-dir", name)
    run(foal_in, folder, "extract", *selection, *options)
    return folder / name / "feats.h5"


def frames(features: Path, stream: str) -> list[np.ndarray[Any, Any]]:
    """Return the frames (t, width) of every utterance."""
    with FeatureStore(features) as store:
        return [store.read(stream, row)[0].astype(np.float64) for row in range(len(store))]


@pytest.fixture(scope="module")
def on_cpu(foal_in: Foal, synthetic_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a manifest, and `cpu`, a features folder extracted on the CPU; read-only."""
    folder = tmp_path_factory.mktemp("gpu")
    run(foal_in, folder, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv")
    extract(foal_in, folder, synthetic_corpus, "cpu", "--device", "cpu")
    return folder


@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.99999), ("tf32", 0.9999), ("bf16", 0.99), ("fp16", 0.999)])
def test_extraction_agrees_with_the_cpu(
    foal_in: Foal, on_cpu: Path, synthetic_corpus: Path, precision: str, least: float
) -> None:
    features = extract(foal_in, on_cpu, synthetic_corpus, precision, "--device", "cuda", "--precision", precision)
    for stream in ("audio", "face"):
        for expected, got in zip(frames(on_cpu / "cpu" / "feats.h5", stream), frames(features, stream), strict=True):
            assert got.shape == expected.shape
            norms = np.linalg.norm(got, axis=1) * np.linalg.norm(expected, axis=1)
            cosines = (got * expected).sum(1)[norms > 0] / norms[norms > 0]
            assert np.median(cosines) > least


def metrics(foal_in: Foal, folder: Path, name: str, *options: str) -> dict[str, Any]:
    run(foal_in, folder, "train", "-f", "cpu/feats.h5", "-o", name, *TRAIN, *options)
    result: dict[str, Any] = json.loads((folder / name / "metrics.json").read_text(encoding="utf-8"))
    return result


def test_training_is_repeatable(foal_in: Foal, on_cpu: Path) -> None:
    first, again = (metrics(foal_in, on_cpu, name, "--device", "cuda") for name in ("first", "again"))
    assert first["folds"] == again["folds"]
    run(foal_in, on_cpu, "evaluate", "-f", "cpu/feats.h5", "--model", "first")


def test_training_in_float32_agrees_with_the_cpu(foal_in: Foal, on_cpu: Path) -> None:
    """Without dropout both devices draw the same random numbers; a few steps do not diverge by more than rounding."""
    without = [f"--set=train.{name}=0" for name in ("input_dropout", "dropout", "projection_dropout")]
    options = ["--set=train.precision=fp32", "--set=train.mem=false", *without]
    for device in ("cuda", "cpu"):
        metrics(foal_in, on_cpu, f"on-{device}", "--device", device, *options)
    losses = [loss_history(on_cpu / f"on-{device}") for device in ("cuda", "cpu")]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)


def loss_history(folder: Path) -> list[float]:
    with (folder / "history.csv").open(encoding="utf-8") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def frame_images(synthetic_corpus: Path) -> list[np.ndarray[Any, Any]]:
    video = open_video(sorted(synthetic_corpus.glob("Session1/dialog/avi/DivX/*.avi"))[0])
    plan = video.plan(Segment(start=0.5, end=2.9, fps=10))
    return [image for _, _, image in video.crops([plan], [(0.0, 0.0, 0.5, 1.0)])]


def test_boxes_agree_with_the_cpu(frame_images: list[np.ndarray[Any, Any]]) -> None:
    for min_face in (20, 48):
        stacked = torch.from_numpy(np.stack(frame_images))
        expected = Cascade(torch.device("cpu")).detect(stacked, min_face=min_face)
        with autocast(CUDA, "fp32"):
            found = Cascade(CUDA).detect(stacked.to(CUDA), min_face=min_face)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one[:, :4], other[:, :4], atol=1e-3)
            np.testing.assert_allclose(one[:, 4], other[:, 4], atol=1e-4)


def test_inputs_of_the_networks_are_those_of_the_cpu(frame_images: list[np.ndarray[Any, Any]]) -> None:
    stacked = torch.from_numpy(np.stack(frame_images))
    sums = integral_image(stacked)
    assert torch.equal(integral_image(stacked.to(CUDA)).cpu(), sums)
    torch.testing.assert_close(resized(sums.to(CUDA), (43, 33)).cpu(), resized(sums, (43, 33)), rtol=0, atol=1e-4)
    regions = [torch.from_numpy(image[10 : 100 + number, 20:160].copy()) for number, image in enumerate(frame_images)]
    expected = resize_to_squares(regions, 160, torch.device("cpu"), rounded=True)
    assert torch.equal(resize_to_squares(regions, 160, CUDA, rounded=True).cpu(), expected)


@pytest.mark.parametrize("settings", [{}, {"crop_shape": "square"}, {"region": "crop"}])
def test_tracks_agree_with_the_cpu(frame_images: list[np.ndarray[Any, Any]], settings: dict[str, Any]) -> None:
    tracks = []
    for device in (CUDA, torch.device("cpu")):
        options = FaceSettings(encoder="random:facenet", **settings)
        batches = FaceBatches(build_face_extractor(options, find_face_weights("random:facenet", "main", 0), device))
        track = Track.empty(len(frame_images), 512)
        for position, image in enumerate(frame_images):
            batches.push(track, FrameSample(position=position, image=image))
        batches.end(track)
        batches.finish()
        assert track.finished
        tracks.append(track)
    on_gpu, on_cpu = tracks
    np.testing.assert_array_equal(on_gpu.valid, on_cpu.valid)
    np.testing.assert_allclose(on_gpu.boxes, on_cpu.boxes, atol=1e-5)
    assert np.linalg.norm(on_gpu.values - on_cpu.values) <= 1e-3 * np.linalg.norm(on_cpu.values)


def test_copies_arrive_while_the_gpu_computes() -> None:
    chance = torch.Generator().manual_seed(0)
    arrays = [torch.randint(0, 256, (64, 480, 3), dtype=torch.uint8, generator=chance).numpy() for _ in range(20)]
    matrix = torch.rand(2000, 2000, device=CUDA)
    copies = []
    for array in arrays:
        matrix = matrix @ matrix / 2000
        # The memory of each copy is free for reuse as soon as Python drops it.
        copies.append(HostCopy(stack_on_device([array, array], CUDA).float() + to_device(torch.ones(3), CUDA)))
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(copy.numpy(), np.stack([array, array]).astype(np.float32) + 1)
