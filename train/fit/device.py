"""The same seed gives the same numbers: threads and kernels that repeat themselves."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ...shared.config.train_settings import TrainSettings
from ...shared.errors import TrainingError


@contextmanager
def deterministic(device: torch.device, threads: int) -> Iterator[None]:
    """A fixed number of threads and, on CUDA, only kernels that repeat; afterwards all is as before.

    By default (0) half the threads that PyTorch would take: steps are small, and where anything else runs, each waits
    for the last thread to get a core. On two shared cores two threads took ten times as long as one.
    """
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads or max(1, before[0] // 2))
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs to repeat itself
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        if device.type == "cuda":  # to ask for nothing costs a second and 150 MB of imports
            torch.use_deterministic_algorithms(before[1])


def half_precision(settings: TrainSettings, device: torch.device) -> torch.dtype | None:
    """The format that `settings.precision` means on a device; CPUs compute in float32."""
    if device.type != "cuda" or settings.precision == "fp32":
        return None
    if settings.precision == "auto":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
    return torch.bfloat16 if settings.precision == "bf16" else torch.float16


def chosen_device(name: str) -> torch.device:
    """The device that cluster.device names. Raises TrainingError if there is none such."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise TrainingError(f"cluster.device: expected auto, cpu, cuda or cuda:N, got {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise TrainingError(f"cluster.device is {name}, but PyTorch sees {torch.cuda.device_count()} CUDA devices")
    return device
