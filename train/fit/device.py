"""The same seed gives the same numbers: threads and kernels that repeat themselves."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


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
