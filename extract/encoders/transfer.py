"""Copies between the host and a GPU during which both go on working; on a CPU nothing is copied.

A copy overlaps computation only from and to page-locked ("pinned") memory. PyTorch keeps such memory for reuse, but not
before a copy that reads or writes it has ended.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on a device. Neither waits for what the device computes."""
    return tensor if device.type == "cpu" else _send(tensor.pin_memory(), device)


def stack_on_device(arrays: Sequence[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """Arrays of one shape as one tensor (n, ...) on a device."""
    if device.type == "cpu":
        return torch.from_numpy(np.stack(arrays))
    host = torch.empty((len(arrays), *arrays[0].shape), dtype=torch.uint8, pin_memory=True)
    np.stack(arrays, out=host.numpy())
    return _send(host, device)


class HostCopy:
    """A result on its way to the host."""

    def __init__(self, result: Tensor) -> None:
        """Start to copy a float32 tensor on any device."""
        self._event: torch.cuda.Event | None = None
        self._host = result
        if result.is_cuda:
            self._host = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
            self._host.copy_(result, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()

    def numpy(self) -> NDArray[np.float32]:
        """The result, once it has arrived."""
        if self._event is not None:
            self._event.synchronize()
        values: NDArray[np.float32] = self._host.numpy()
        return values


@cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream of copies to a device: on that of the networks they would wait for the batch before."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _send(pinned: Tensor, device: torch.device) -> Tensor:
    computing = torch.cuda.current_stream(device)
    copying = _copy_stream(device)
    with torch.cuda.stream(copying):
        sent = pinned.to(device, non_blocking=True)
    computing.wait_stream(copying)
    # The allocator would else give its memory to the next copy as soon as Python drops it.
    sent.record_stream(computing)
    return sent
