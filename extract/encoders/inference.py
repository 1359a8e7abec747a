"""A batch that is too large for the GPU, halved until it fits."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch
from transformers.utils import logging

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


@contextmanager
def quiet() -> Iterator[None]:
    """Within it transformers prints errors only, and its bars not at all."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(before)


_FORMATS = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Within it, matrix products and convolutions compute in `precision`; fp32 is what it is without."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, _FORMATS[precision])
