"""What a GPU makes of extraction: batched against one by one, and how busy it is.

    python benchmarks/gpu.py [--utterances 2000] [--precision fp32]

Runs `foal extract` on the GPUs of this machine (wav2vec2-base and InceptionResnetV1, seeded random weights) over drawn
dialogs, once as it comes and once with batches of one, and prints one JSON line: utterances per second of both (the
whole command, its start included), their ratio, and the mean of what `nvidia-smi` says of the GPUs once the workers
are up.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import threading
from pathlib import Path

import torch
from memory import DIALOG_SECONDS, copies
from say import machine, say

from extract import draw, foal, save_encoder
from foal.shared.manifest import write_manifest

QUERY = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
START_S = 20.0
"""Until the workers have loaded their encoders; not counted as idle."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=2000)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--chunk-seconds", default="300")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("there is no GPU here that PyTorch can use")
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        draw(work / "corpus", 1, DIALOG_SECONDS)
        spec = {"fps": 10.0, "encoder": str(save_encoder(work))}
        write_manifest(work / "m.csv", copies(work / "corpus", arguments.utterances))
        usual = ["--precision", arguments.precision, "--chunk-seconds", arguments.chunk_seconds]
        with Watched() as watched:
            batched_s, _ = foal(work, spec, "batched", *usual)
        say(f"batched: {batched_s:.1f} s")
        singly = ["--set", "extract.batch_seconds=0", "--set", "extract.batch_images=1"]
        single_s, _ = foal(work, spec, "single", *usual, *singly)
    result = {
        "utterances_per_s": round(arguments.utterances / batched_s, 2),
        "one_by_one_per_s": round(arguments.utterances / single_s, 2),
        "batched_speedup": round(single_s / batched_s, 2),
        "gpu_busy": round(watched.busy(), 3),
        "precision": arguments.precision,
        "utterances": arguments.utterances,
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
        "machine": machine(),
    }
    print(json.dumps(result))


class Watched:
    """Asks once a second how busy the GPUs are."""

    def __init__(self) -> None:
        self._samples: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watched":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def busy(self) -> float:
        """Mean share of the time, without that of starting."""
        return statistics.fmean(self._samples[int(START_S) :] or [0.0]) / 100

    def _watch(self) -> None:
        while not self._stop.wait(1.0):
            said = subprocess.run(QUERY, capture_output=True, text=True, check=True).stdout.split()
            self._samples.append(statistics.fmean(map(float, said)))


if __name__ == "__main__":
    main()
