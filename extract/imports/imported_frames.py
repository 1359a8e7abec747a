"""The frames of one imported array: its shape and number type, and the frames that hold no data."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...shared.errors import StoreError

ABSENT_ZEROS = {"face": " (no face)", "text": " (no words)"}
"""Modalities in which other tools write zeros where there is nothing, and what that is."""


@dataclass(frozen=True, kw_only=True)
class FrameRules:
    """What frames of zeros and of NaN mean.

    Attributes:
        nan: frames with NaN or infinite numbers are refused, or marked invalid.
        zeros: frames of zeros are marked invalid, or kept. None: invalid in face and text streams, in which other
            tools (MERTools, MERBench) write them where they found no face and for empty texts; kept in audio streams,
            in which low-level descriptors of digital silence are zeros, unless the whole utterance consists of them.
    """

    nan: Literal["refuse", "invalid"] = "refuse"
    zeros: Literal["invalid", "valid"] | None = None


DEFAULT_RULES = FrameRules()


@dataclass(frozen=True, kw_only=True)
class Frames:
    """The frames of one utterance.

    Attributes:
        values: (t, width); zeros in frames with NaN.
        valid: (t,), False for frames without data.
        zero: frames of zeros, valid or not.
        nan: frames with NaN or infinite numbers.
    """

    values: NDArray[Any]
    valid: NDArray[np.bool_]
    zero: int
    nan: int


def read_frames(array: NDArray[Any], modality: str, rules: FrameRules, dtype: str, where: str) -> Frames:
    """Check an array and find the frames without data.

    Args:
        array: (width,) or (t, width); an empty array gives no frames.
        modality: audio or face.
        rules: what frames of zeros and of NaN mean.
        dtype: the number format that the values must fit into.
        where: the place of the array, for messages.

    Raises:
        StoreError: the array cannot be features; the message begins with `where`.
    """
    if array.dtype.kind not in "fiu":
        raise StoreError(f"{where}: expected an array of numbers, got one of type {array.dtype}")
    if array.ndim not in (1, 2):
        raise StoreError(f"{where}: expected an array of shape (width,) or (frames, width), got {array.shape}")
    if array.size == 0:
        return Frames(values=np.zeros((0, 0), np.float32), valid=np.zeros(0, bool), zero=0, nan=0)
    values = np.atleast_2d(array)
    finite = np.isfinite(values).all(1)
    # NaN counts as true.
    zero = ~values.any(1)
    nan = int(np.count_nonzero(~finite))
    if nan and rules.nan == "refuse":
        raise StoreError(
            f"{where}: expected finite numbers, got NaN or infinite ones in {nan} of {len(values)} frames; correct "
            "them, or mark such frames as invalid with --nan invalid"
        )
    if nan:
        values = np.where(finite[:, None], values, 0)
    _check_range(values, dtype, where)
    valid = finite.copy()
    if rules.zeros == "invalid" or (rules.zeros is None and (modality in ABSENT_ZEROS or (zero | ~finite).all())):
        valid &= ~zero
    return Frames(values=values, valid=valid, zero=int(np.count_nonzero(zero)), nan=nan)


def _check_range(values: NDArray[Any], dtype: str, where: str) -> None:
    """Raise StoreError if numbers are too large for `dtype`."""
    if np.can_cast(values.dtype, dtype):
        return
    extremes = np.array([values.min(), values.max()])
    with np.errstate(over="ignore"):
        fits = np.isfinite(extremes.astype(dtype)).all()
    if not fits:
        remedy = "; set extract.dtype to float32 (--dtype float32)" if dtype == "float16" else ""
        raise StoreError(f"{where}: the values are too large for {dtype} ({abs(extremes).max():g}){remedy}")
