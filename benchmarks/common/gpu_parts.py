"""The parts of benchmarks/gpu.py: each measures on one device, and returns the values of its line."""

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common.dialogs import Workload, copies, extract, save_encoder
from common.gpu_bench import Bench, Result
from common.gpu_networks import Networks
from common.gpu_pipelines import base, large
from facenet_pytorch import MTCNN
from PIL import Image
from shaped import write_shaped

from foal.extract.encoders.transfer import HostCopy
from foal.extract.face.batching import FaceExtractor
from foal.extract.face.cropping import stretched_region
from foal.extract.media.video_reader import RgbImage
from foal.shared.config.settings import ClusterSettings, Settings
from foal.train.run import train
from train import DEFAULT

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")


def agreement(bench: Bench) -> Result:
    """Differences from the CPU."""
    cpu = Networks(torch.device("cpu"), tiny=bench.tiny)
    images, waves = bench.images[: 2 if bench.tiny else 16], bench.waves[: 2 if bench.tiny else 12]
    expected = cpu.detector.detect(images)
    found = bench.networks.detector.detect(images)
    pairs = [(one, other) for both in zip(found, expected, strict=True) for one, other in zip(*both, strict=False)]
    result: Result = {
        "faces": [sum(map(len, found)), sum(map(len, expected))],
        "box_px": max(float(np.abs(one.box - other.box).max()) for one, other in pairs),
    }
    faces = [faces[0] if faces else None for faces in expected]
    on_cpu = cpu.facenet("fp32")
    face_values = on_cpu.start([on_cpu.prepare(*pair) for pair in zip(images, faces, strict=True)]).numpy()
    audio_values = np.concatenate(cpu.audio("base", "fp32", batch_seconds=0.0).encode(waves))
    for precision in PRECISIONS[: None if bench.device.type == "cuda" else 1]:
        extractor = bench.networks.facenet(precision)
        prepared = [extractor.prepare(*pair) for pair in zip(images, faces, strict=True)]
        result[f"face_{precision}"] = difference(extractor.start(prepared).numpy(), face_values)
        states = np.concatenate(bench.networks.audio("base", precision).encode(waves))
        result[f"audio_{precision}"] = difference(states, audio_values)
    return result


def difference(values: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> float:
    """Largest relative difference of a row (d,) from its expected value."""
    rows = np.linalg.norm(values - expected, axis=-1) / np.linalg.norm(expected, axis=-1)
    return float(f"{rows.max():.2e}")


def detect(bench: Bench) -> Result:
    """Frames per second of the detector."""
    images, detector = bench.images, bench.networks.detector
    stacked = np.stack(images)
    mtcnn = MTCNN(keep_all=True, device=bench.device, min_face_size=round(0.1 * images[0].shape[0]))
    batched = bench.rate(len(images), lambda: detector.detect(images))
    few = images[:8]
    single = bench.rate(len(few), lambda: [detector.detect([image]) for image in few])
    documented = bench.rate(len(images), lambda: mtcnn.detect(stacked))
    return speeds("detector", batched, single, documented) | {"frames": len(images), "size": list(stacked.shape[1:3])}


def speeds(name: str, batched: float, single: float, documented: float) -> Result:
    return {
        f"{name}_per_s": batched,
        f"{name}_one_by_one_per_s": single,
        f"{name}_documented_per_s": documented,
        f"{name}_batched_speedup": round(batched / single, 2),
        f"{name}_speedup": round(batched / documented, 2),
    }


def encode(bench: Bench) -> Result:
    """Images, or seconds of sound, per second of each encoder."""
    result: Result = {}
    box = next(faces[0] for faces in bench.networks.detector.detect(bench.images) if faces)
    for name, extractor in (
        ("facenet", bench.networks.facenet(bench.precision)),
        ("clip", bench.networks.clip(bench.precision)),
    ):
        images = [bench.images[number % len(bench.images)] for number in range(2 if bench.tiny else extractor.batch)]
        documented = bench.networks.documented_face(name, bench.precision)

        def batched(extractor: FaceExtractor = extractor, images: Sequence[RgbImage] = images) -> HostCopy:
            copy = extractor.start([extractor.prepare(image, box) for image in images])
            copy.numpy()
            return copy

        def single(extractor: FaceExtractor = extractor, images: Sequence[RgbImage] = images) -> None:
            for image in images[:16]:
                extractor.start([extractor.prepare(image, box)]).numpy()

        cuts = [Image.fromarray(stretched_region(image, box.box, 0.0)) for image in images[:16]]
        rates = (
            bench.rate(len(images), batched),
            bench.rate(len(images[:16]), single),
            bench.rate(len(cuts), lambda cuts=cuts, documented=documented: [documented(cut) for cut in cuts]),  # type: ignore[misc]
        )
        result |= speeds(name, *rates)
    total = sum(map(len, bench.waves)) / 16000
    few = bench.waves[:4]
    some = sum(map(len, few)) / 16000
    for size in ("base", "large"):
        documented_audio = bench.networks.documented_audio(size, bench.precision)
        together = bench.networks.audio(size, bench.precision)
        alone = bench.networks.audio(size, bench.precision, batch_seconds=0.0)
        rates = (
            bench.rate(total, lambda together=together: together.encode(bench.waves)),  # type: ignore[misc]
            bench.rate(some, lambda alone=alone: alone.encode(few)),  # type: ignore[misc]
            bench.rate(some, lambda run=documented_audio: [run(wave) for wave in few]),  # type: ignore[misc]
        )
        result |= speeds(f"wav2vec2_{size}", *rates)
    return result


def train_folds(bench: Bench, *, workers: int, seeds: Iterable[int]) -> float:
    """Seconds of `foal train` over all folds of these seeds."""
    features = bench.folder / "shaped" / "feats.h5"
    if not features.exists():
        write_shaped(features.parent, fraction=0.01 if bench.tiny else 1.0)
    small = {"epochs": 1, "bootstrap": 50} if bench.tiny else {}
    settings = DEFAULT.model_copy(update={"seeds": tuple(seeds), **small})
    cluster = ClusterSettings(device=bench.device.type, workers=workers)
    with tempfile.TemporaryDirectory() as scratch:
        began = time.perf_counter()
        train(Settings(train=settings, cluster=cluster), features, Path(scratch) / "run", parallel=workers > 1)
        return round(time.perf_counter() - began, 1)


def extract_command(bench: Bench) -> Result:
    """`foal extract` over the dialog's copies, with several workers on the GPU."""
    utterances = 2 if bench.tiny else 300
    work = Workload(
        folder=bench.folder,
        encoder=save_encoder(bench.folder, tiny=bench.tiny),
        fps=1.0 if bench.tiny else 10.0,
        utterances=copies(bench.corpus, utterances),
    )
    result: Result = {"utterances": utterances}
    for workers in (1,) if bench.tiny else (1, 2, 4):
        options = ["--precision", bench.precision, "--chunk-seconds", "300", "--workers", str(workers)]
        run = extract(work, f"workers-{workers}", *options)
        result[f"wall_s_{workers}"] = round(run.seconds, 1)
    return result


PARTS: dict[str, Callable[[Bench], Result]] = {
    "agreement": agreement,
    "detect": detect,
    "encode": encode,
    "base": base,
    "large": large,
    "train": lambda bench: {"run_s": train_folds(bench, workers=1, seeds=[0])},
    "folds": lambda bench: {"run_s": train_folds(bench, workers=2 if bench.tiny else 5, seeds=[0])},
    "extract": extract_command,
    "seeds": lambda bench: {"run_s": train_folds(bench, workers=1, seeds=range(2 if bench.tiny else 5))},
}
