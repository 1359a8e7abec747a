"""A batch that is too large for the GPU, halved until it fits."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from ...shared.errors import MediaError

Item = TypeVar("Item")
Result = TypeVar("Result")


def halved(run: Callable[[Sequence[Item]], list[Result]], batch: Sequence[Item], *, remedy: str) -> list[Result]:
    """What `run` makes of a batch, in two halves (and those in two) where the device's memory does not suffice.

    Raises MediaError, with the remedy, where it does not suffice for a single one.
    """
    try:
        return run(batch)
    except torch.OutOfMemoryError:
        if len(batch) == 1:
            raise MediaError(f"the device's memory does not suffice for it; {remedy}") from None
    # Outside of the handler, whose traceback would keep the failed attempt's tensors alive.
    torch.cuda.empty_cache()
    half = len(batch) // 2
    return [result for part in (batch[:half], batch[half:]) for result in halved(run, part, remedy=remedy)]
