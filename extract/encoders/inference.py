"""Running frozen networks: precision, batches too large for the device, and the output of transformers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

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
        run: the network, one result per item.
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


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Context in which matrix products and convolutions run in `precision`: fp32 (no change), bf16 or fp16."""
    dtype = autocast_dtype(precision, device)
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)
