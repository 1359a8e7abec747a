"""Running frozen networks: precision, batches too large for the device, and the output of transformers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor

from ...shared.errors import MediaError
from ...shared.parallel.device import autocast_dtype
from .layers import Layers

Item = TypeVar("Item")
Result = TypeVar("Result")


def split_on_oom(run: Callable[[Sequence[Item]], list[Result]], batch: Sequence[Item], *, remedy: str) -> list[Result]:
    """Run a network on a batch, in halves (recursively) where the device runs out of memory.

    Args:
        run: the network: one result per item, or fewer for several items each.
        batch: the items, at least one.
        remedy: what the user can change if a single item is too large.

    Raises:
        MediaError: a single item is too large.
    """
    try:
        return run(batch)
    except torch.OutOfMemoryError:
        if len(batch) == 1:
            raise MediaError(f"out of memory on the device, even for a single item; {remedy}") from None
    # Outside of the handler, whose traceback would keep the tensors of the failed attempt alive.
    torch.cuda.empty_cache()
    half = len(batch) // 2
    return [result for part in (batch[:half], batch[half:]) for result in split_on_oom(run, part, remedy=remedy)]


def select_layers(states: Sequence[Tensor], layers: Layers) -> Tensor:
    """The wanted hidden states (b, t, [layers,] d) of all, each (b, t, d); for `last` the last one may be alone."""
    if layers == "last":
        return states[-1]
    if layers == "mean":
        return torch.stack(list(states)).mean(0)
    return torch.stack(list(states) if layers == "all" else [states[int(number)] for number in layers], 2)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Within this context transformers prints errors only, and no progress bars."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(before)


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """Context in which matrix products and convolutions run in `precision`.

    Args:
        device: device of the network.
        precision: fp32; tf32, which a GPU multiplies with 10 bits of the fraction, and a CPU as fp32; bf16 or fp16.
    """
    dtype = autocast_dtype(precision, device)
    with _multiplication(device, precision), nullcontext() if dtype is None else torch.autocast(device.type, dtype):
        yield


@contextmanager
def _multiplication(device: torch.device, precision: str) -> Iterator[None]:
    """Context in which a GPU multiplies float32 in full; by default PyTorch takes TF32 for convolutions."""
    if device.type == "cpu":
        yield
        return
    cudnn: Any = torch.backends.cudnn
    kinds = torch.backends.cuda.matmul, cudnn.conv
    before = [kind.fp32_precision for kind in kinds]
    try:
        for kind in kinds:
            kind.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        yield
    finally:
        for kind, value in zip(kinds, before, strict=True):
            kind.fp32_precision = value
