"""Encoders on one core of a CPU, compared with the arithmetic limit of the core.

    python benchmarks/encode.py [--seconds 10] [--repeats 5] [--tiny]

Encodes a waveform with wav2vec2-base and images with InceptionResnetV1 (random weights, float32, one thread), counts
the floating-point operations of both with PyTorch's counter, and measures the rate of a large product of matrices
between them. Prints one JSON line; all times are processor seconds, medians over the repeats:

gemm_gflops                       rate of the product of two matrices of 2048 x 2048
audio_gflop, face_gflop           operations per second of sound, and per image of 160 x 160
audio_s, face_s                   seconds per second of sound, and per image
audio_over_limit, face_over_limit measured seconds divided by operations / rate: 1 is the limit
audio_convolutions                share of the convolutions in front of the Transformer in audio_s, measured alone

--tiny: small models and inputs, once; checks that everything is measured.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from common.dialogs import save_encoder
from common.report import check_measured, log, machine
from torch.utils.flop_counter import FlopCounterMode
from transformers import Wav2Vec2Model

from foal.extract.audio.loading import load_audio_encoder
from foal.extract.encoders.weights import find_audio_weights, find_face_weights
from foal.extract.face.facenet import build_face_extractor
from foal.shared.config.settings import ExtractSettings
from foal.shared.timing import SAMPLE_RATE

CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the waveform")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="run in seconds, to test this script")
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.seconds, arguments.images, arguments.repeats = 1.0, 2, 1
    torch.set_num_threads(1)
    print(json.dumps(measure(arguments)))


@torch.inference_mode()
def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time everything in turn, so that the load of other programs meets all alike."""
    settings = ExtractSettings()
    with tempfile.TemporaryDirectory() as folder:
        path = save_encoder(Path(folder), tiny=arguments.tiny)
        audio = load_audio_encoder(find_audio_weights(str(path), "main", 0), CPU)
        convolutions = Wav2Vec2Model.from_pretrained(path).feature_extractor
    weights = find_face_weights("random:facenet", "main", 0)
    face = build_face_extractor(settings.face, weights, CPU, precision="fp32", batch=arguments.images).encoder
    generator = np.random.default_rng(0)
    wave = generator.standard_normal(round(arguments.seconds * SAMPLE_RATE)).astype(np.float32)
    images = torch.from_numpy(generator.uniform(0, 255, (arguments.images, 3, 160, 160)).astype(np.float32))
    side = 256 if arguments.tiny else 2048
    a, b = torch.randn(side, side), torch.randn(side, side)
    runs: dict[str, Callable[[], object]] = {
        "gemm": lambda: a @ b,
        "audio": lambda: audio.encode([wave]),
        "convolutions": lambda: convolutions(torch.from_numpy(wave)[None]),
        "face": lambda: face.encode(list(images)),
    }
    operations = {name: count_operations(run) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(arguments.repeats):
        for name, run in runs.items():
            times[name].append(processor_seconds(run))
        log(f"repeat {repeat + 1}: " + ", ".join(f"{name} {values[-1]:.3f} s" for name, values in times.items()))
    seconds = {name: median(values) for name, values in times.items()}
    rate = operations["gemm"] / seconds["gemm"]
    result = {
        "gemm_gflops": round(rate / 1e9, 1),
        "audio_gflop": round(operations["audio"] / arguments.seconds / 1e9, 3),
        "audio_s": round(seconds["audio"] / arguments.seconds, 4),
        "audio_over_limit": round(seconds["audio"] * rate / operations["audio"], 2),
        "audio_convolutions": round(seconds["convolutions"] / seconds["audio"], 2),
        "face_gflop": round(operations["face"] / arguments.images / 1e9, 3),
        "face_s": round(seconds["face"] / arguments.images, 4),
        "face_over_limit": round(seconds["face"] * rate / operations["face"], 2),
        "machine": machine(),
    }
    check_measured(result, *(name for name in result if name != "machine"))
    return result


def count_operations(run: Callable[[], object]) -> int:
    """Floating-point operations of a call, which also warms it up."""
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def processor_seconds(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


if __name__ == "__main__":
    main()
