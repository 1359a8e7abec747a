"""Extraction on GPUs: speedup of batches over single items, and GPU utilization.

    python benchmarks/gpu.py [--utterances 2000] [--precision fp32] [--tiny]

Runs `foal extract` on the GPUs of this machine (wav2vec2-base and InceptionResnetV1, seeded random weights) over
generated dialogs, once with the default batch sizes and once with batches of one, and prints one JSON line: utterances
per second of both runs (start-up included), their ratio, and the mean GPU utilization that `nvidia-smi` reports once
the workers are running.

--tiny: a few seconds of media and a small audio encoder; without a GPU it runs on the CPU and measures no utilization.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import torch
from common.dialogs import Workload, copies, extract, save_encoder, write_long_dialog
from common.report import check_measured, log, machine
from memory import DIALOG_SECONDS

QUERY = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
START_S = 20.0
"""Time until the workers have loaded their encoders; excluded from the utilization."""
ONE_BY_ONE = ("--set", "extract.batch_seconds=0", "--set", "extract.batch_images=1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=2000)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--chunk-seconds", default="300")
    parser.add_argument("--tiny", action="store_true", help="run in seconds, to test this script")
    arguments = parser.parse_args()
    if not (torch.cuda.is_available() or arguments.tiny):
        raise SystemExit("expected a GPU that PyTorch can use, found none")
    utterances = 2 if arguments.tiny else arguments.utterances
    options = ["--precision", arguments.precision, "--chunk-seconds", arguments.chunk_seconds]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_long_dialog(folder / "corpus", 1, 1.0 if arguments.tiny else DIALOG_SECONDS)
        work = Workload(
            folder=folder,
            encoder=save_encoder(folder, tiny=arguments.tiny),
            fps=1.0 if arguments.tiny else 10.0,
            utterances=copies(folder / "corpus", utterances),
        )
        with Utilization(enabled=torch.cuda.is_available()) as utilization:
            batched = extract(work, "batched", *options)
        log(f"batched: {batched.seconds:.1f} s")
        single = extract(work, "single", *options, *ONE_BY_ONE)
    result: dict[str, Any] = {
        "utterances_per_s": round(utterances / batched.seconds, 4),
        "one_by_one_per_s": round(utterances / single.seconds, 4),
        "batched_speedup": round(single.seconds / batched.seconds, 2),
        "utterances": utterances,
    }
    check_measured(result, *result)
    if torch.cuda.is_available():
        result["gpu_busy"] = round(utilization.mean(0.0 if arguments.tiny else START_S), 3)
        result["gpus"] = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        check_measured(result, *([] if arguments.tiny else ["gpu_busy"]))
    print(json.dumps({**result, "precision": arguments.precision, "machine": machine()}))


class Utilization:
    """Samples the utilization of all GPUs once a second."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._samples: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Utilization":
        if self._enabled:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._enabled:
            self._thread.join()

    def mean(self, start_s: float) -> float:
        """Return the mean utilization (0 to 1) after the first `start_s` seconds."""
        return statistics.fmean(self._samples[int(start_s) :] or [0.0]) / 100

    def _watch(self) -> None:
        while not self._stop.wait(1.0):
            answer = subprocess.run(QUERY, capture_output=True, text=True, check=True).stdout.split()
            self._samples.append(statistics.fmean(map(float, answer)))


if __name__ == "__main__":
    main()
