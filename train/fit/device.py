"""Device, number of threads, and precision of training; the same seed gives the same numbers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ...shared.config.train_settings import TrainSettings
from ...shared.parallel.device import autocast_dtype


@contextmanager
def deterministic(device: torch.device, threads: int) -> Iterator[None]:
    """Fix the number of threads and use deterministic CUDA kernels; the previous state is restored afterwards.

    Args:
        device: device of the computation.
        threads: CPU threads. 0 means half of PyTorch's default: steps are small, and on a busy machine each step waits
            for the slowest thread. On two shared cores two threads took ten times as long as one.
    """
    threads_before = torch.get_num_threads()
    deterministic_before = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads or max(1, threads_before // 2))
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # required by cuBLAS for deterministic results
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        if device.type == "cuda":  # the call imports modules that cost a second and 150 MB
            torch.use_deterministic_algorithms(deterministic_before)


def amp_dtype(settings: TrainSettings, device: torch.device) -> torch.dtype | None:
    """The dtype of mixed precision that `settings.precision` selects on a device; None for float32, always on a CPU."""
    return autocast_dtype(settings.precision, device) if device.type == "cuda" else None
