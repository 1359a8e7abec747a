"""What a measured piece of work used: seconds, processor cores, and the share of time in which the GPU was busy."""

import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

SAMPLE_MS = 200
QUERY = ["nvidia-smi", "--id=0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", f"-lms={SAMPLE_MS}"]


@dataclass(kw_only=True)
class Use:
    """Seconds and mean cores of a piece of work, and what `nvidia-smi` reported (None: it is not there)."""

    utterances: int = 0
    seconds: float = 0.0
    cores: float = 0.0
    gpu_busy: float | None = None

    @property
    def seconds_per_utterance(self) -> float:
        return self.seconds / max(1, self.utterances)


@contextmanager
def measured_use(device: torch.device) -> Iterator[Use]:
    """Measure the work within the context; `utterances` are set by the caller."""
    use = Use()
    sampler = None
    if device.type == "cuda" and shutil.which("nvidia-smi"):
        sampler = subprocess.Popen(QUERY, stdout=subprocess.PIPE, text=True)
    began, processor = time.perf_counter(), time.process_time()
    try:
        yield use
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        use.seconds = time.perf_counter() - began
        use.cores = (time.process_time() - processor) / use.seconds
    finally:
        if sampler is not None:
            sampler.terminate()
            samples = [float(line) for line in sampler.communicate()[0].split() if line.isdigit()]
            use.gpu_busy = round(statistics.fmean(samples) / 100, 3) if samples else None
