"""Extraction and training on a GPU: agreement with the CPU, speed, utilization.

    python benchmarks/gpu.py [--budget 330] [--parts agreement,detect,...] [--precision fp32] [--tiny]

Runs the parts below in this order, on the first GPU, with seeded random weights, and prints one JSON line per part. All
together take at most `--budget` seconds. A part that fails or exceeds its own limit costs its own line only; one for
which too little time is left is skipped, which its line says.

agreement    largest difference of boxes (pixels) and of embeddings (relative) from those of the CPU, by precision
detect       frames per second of the detector in batches, one by one, and of facenet-pytorch's MTCNN in such batches
encode       images or seconds of sound per second of each encoder in batches, one by one, and as its library documents
base         both pipelines with decoding, wav2vec2-base and InceptionResnetV1: utterances per second, one by one, and
             as the libraries document; real-time factor, share of time in which the GPU was busy, cores used
large        the same with wav2vec2-large and CLIP ViT-L/14
train        all five folds of one seed at IEMOCAP's shape, from opening the features to the plots (goal 60 s)
folds        the same with five workers on the GPU
extract      `foal extract` from start to end, with one, two and four workers on the GPU
seeds        five seeds of `train` (goal 300 s)

Goals: batched is 5 times as fast as one by one; the GPU is busy for 85% of the time.

--tiny: a second of media and small networks; without a GPU it runs on the CPU, by the code of a GPU.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue

from foal.shared.parallel.resources import available_gpus

LIMITS = {
    "agreement": 60,
    "detect": 40,
    "encode": 50,
    "base": 70,
    "large": 60,
    "train": 110,
    "folds": 80,
    "extract": 120,
    "seeds": 330,
}
"""Seconds that each part may take, in their order."""

LEAST = {"train": 40, "folds": 25, "extract": 30, "seeds": 200}
"""Seconds without which a part is not begun; 10 for the others."""

START_LIMIT = 60
"""Seconds for the imports and the first use of the GPU."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=330.0, help="seconds for all parts")
    parser.add_argument("--parts", default=",".join(LIMITS), help="parts to run, with commas")
    parser.add_argument("--precision", default="fp32", help="of the encoders: fp32, tf32, bf16 or fp16")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measured pipeline")
    parser.add_argument("--tiny", action="store_true", help="run in seconds, to test this script")
    parser.add_argument("--run-in", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    if unknown := [name for name in parts if name not in LIMITS]:
        parser.error(f"--parts: expected some of {', '.join(LIMITS)}, got {', '.join(unknown)}")
    if arguments.run_in:
        run_parts(parts, arguments)
        return
    if not (available_gpus() or arguments.tiny):
        raise SystemExit("expected a GPU that PyTorch can use, found none")
    end = time.monotonic() + arguments.budget
    with tempfile.TemporaryDirectory() as scratch:
        while parts:
            supervise(parts, sys.argv[1:], Path(scratch), end, patience=10 if arguments.tiny else 1)


def run_parts(parts: list[str], arguments: argparse.Namespace) -> None:
    """Run parts in this process; each prints its name when it begins, and its line."""
    import torch
    from common.gpu_bench import Bench
    from common.gpu_parts import PARTS

    bench = Bench(arguments.run_in, precision=arguments.precision, seconds=arguments.seconds, tiny=arguments.tiny)
    for name in parts:
        print(name, flush=True)
        began = time.perf_counter()
        try:
            result = PARTS[name](bench)
        except torch.AcceleratorError:
            # The GPU is of no use to this process any more.
            raise
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"[:500]}
        took = round(time.perf_counter() - began, 1)
        print(json.dumps({"part": name, **result, "took_s": took, "device": bench.device_name}), flush=True)


def supervise(parts: list[str], options: list[str], scratch: Path, end: float, *, patience: int) -> None:
    """Run parts in a process of their own until one fails; removes from `parts` what is done, failed or skipped.

    Their limits are multiplied by `patience`.
    """
    command = [sys.executable, __file__, *options, "--parts", ",".join(parts), "--run-in", str(scratch)]
    lines: Queue[str | None] = Queue()

    def skip_late() -> bool:
        left = end - time.monotonic()
        while parts and left < LEAST.get(parts[0], 10):
            print(
                json.dumps({"part": parts.pop(0), "skipped": f"{max(0.0, left):.0f} s of the budget left"}), flush=True
            )
        return not parts

    if skip_late():
        return
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:

        def read() -> None:
            for line in process.stdout or ():
                lines.put(line.strip())
            lines.put(None)

        threading.Thread(target=read, daemon=True).start()
        try:
            limit = START_LIMIT
            while parts:
                deadline = min(end, time.monotonic() + limit * patience)
                limit = LIMITS[parts[0]]
                try:
                    line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
                except Empty:
                    print(json.dumps({"part": parts.pop(0), "error": "stopped at its limit of time"}), flush=True)
                    return
                if line is None:
                    code = process.wait()
                    print(json.dumps({"part": parts.pop(0), "error": f"ended with exit code {code}"}), flush=True)
                    return
                if line.startswith("{"):
                    print(line, flush=True)
                    parts.pop(0)
                    # The next part has begun already; it is stopped if it should not have.
                    if skip_late():
                        return
                    limit = START_LIMIT
        finally:
            # Its session: a part may have workers, which would go on using the GPU.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
