"""VideoMAE: clips of consecutive frames, equal to a plain loop over processor and model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import VideoMAEConfig, VideoMAEForVideoClassification, VideoMAEImageProcessor, VideoMAEModel

from foal.extract.encoders.weights import find_face_weights
from foal.extract.face.batching import FaceBatches
from foal.extract.face.facenet import build_face_extractor
from foal.extract.face.tracker import FrameSample, Track
from foal.shared.config.settings import FaceSettings
from foal.shared.errors import EncoderError

CPU = torch.device("cpu")
FRAMES = 4
"""Of a clip; 16 in the published models."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videomae")
    config = VideoMAEConfig(
        image_size=32,
        num_frames=FRAMES,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        VideoMAEForVideoClassification(config).save_pretrained(folder)
    VideoMAEImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def images(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 40, 56, 3), np.uint8))


def encode(folder: Path, shown: dict[int, np.ndarray], length: int, *, batch: int = 8) -> Track:
    """The track of an utterance of so many frames, of which some have no image."""
    settings = FaceSettings(encoder=str(folder), region="frame")
    extractor = build_face_extractor(settings, find_face_weights(str(folder), "main", 0), CPU, batch=batch)
    batches = FaceBatches(extractor)
    track = Track.empty(length, extractor.encoder.width)
    for position, image in shown.items():
        batches.push(track, FrameSample(position=position, image=image))
    batches.end(track)
    batches.finish()
    assert track.finished
    return track


@torch.inference_mode()
def plain(folder: Path, clip: Sequence[np.ndarray]) -> np.ndarray:
    """One vector for each two frames of a clip, by transformers alone."""
    pixels = VideoMAEImageProcessor.from_pretrained(folder)(list(clip), return_tensors="pt").pixel_values
    tokens = VideoMAEModel.from_pretrained(folder).eval()(pixels).last_hidden_state[0]
    return tokens.reshape(FRAMES // 2, -1, 16).mean(1).numpy()


@pytest.mark.parametrize("batch", [1, 8])
def test_every_two_frames_get_the_mean_of_their_patch_tokens(folder: Path, batch: int) -> None:
    """Seven frames: a clip of four, and one of three whose last frame is repeated."""
    frames = images(7)
    track = encode(folder, dict(enumerate(frames)), 7, batch=batch)
    expected = np.concatenate([plain(folder, frames[:4]), plain(folder, [*frames[4:], frames[6]])])
    np.testing.assert_allclose(track.values, expected.repeat(2, 0)[:7], rtol=1e-5, atol=1e-5)
    assert track.valid.all()


def test_a_missing_frame_repeats_the_one_before_and_stays_invalid(folder: Path) -> None:
    frames = images(8)
    track = encode(folder, {position: frames[position] for position in (0, 2, 3, 6)}, 8)
    assert track.valid.tolist() == [True, False, True, True, False, False, True, False]
    first, second = plain(folder, [frames[0], frames[0], *frames[2:4]]), plain(folder, [frames[6]] * 4)
    expected = np.concatenate([first, second]).repeat(2, 0)
    np.testing.assert_allclose(track.values[track.valid], expected[track.valid], rtol=1e-5, atol=1e-5)
    assert not track.values[~track.valid].any()


def test_incomplete_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    state = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in state.items() if "patch_embeddings" not in name}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match=r"expected all weights of the model.*patch_embeddings.*missing"):
        encode(tmp_path, {}, 1)
