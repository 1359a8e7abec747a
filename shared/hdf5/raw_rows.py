"""Reads packed rows at the speed of the disk: HDF5 only provides their position in the file."""

import math
import os
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checked_reader import Extent, ValidatedGroup
from .opening import DAMAGE, damaged, wrap_as_store_error
from .seal import open_regular

MAX_FRAME_SIZE = 1 << 26
"""Maximum numbers per frame; the largest encoders with all layers have a thousandth of that."""

_FLAGS = np.dtype(bool)


def extents_of(group: ValidatedGroup) -> dict[str, Extent]:
    """The extents of the values and validity flags of a shard or a packed stream; raises as ValidatedGroup does."""
    extents = {"values": group.extent("values", "f", (2, 3, 4)), "valid": group.extent("valid", "b", (1,))}
    values, valid = extents["values"], extents["valid"]
    if values.dtype not in (np.float16, np.float32) or not values.dtype.isnative:
        raise ValueError(f"values: expected float16 or float32, got {values.dtype}")
    if values.shape[0] != valid.shape[0]:
        raise ValueError(f"expected {values.shape[0]} validity flags, one per frame, got {valid.shape[0]}")
    check_frame_shape(values.shape[1:])
    return extents


def check_frame_shape(shape: Sequence[int]) -> None:
    """Raise ValueError unless this is a possible shape of a frame, ([layers,] width)."""
    if not 1 <= len(shape) <= 3 or min(shape) < 1 or math.prod(shape) > MAX_FRAME_SIZE:
        raise ValueError(f"expected frames of 1 to {MAX_FRAME_SIZE} numbers, got the shape {tuple(shape)}")


class PackedRows:
    """The packed tables of an HDF5 file, `values` and `valid`, read without HDF5. Several threads may read at once.

    Args:
        path: the file.
        extents: the extents of the tables, by name.
        remedy: what to do if the file is damaged, for the message.

    Raises:
        StoreError: the file cannot be opened; `read` raises it for damaged content.
    """

    def __init__(self, path: Path, extents: Mapping[str, Extent], *, remedy: str) -> None:
        self.extents = extents
        self._path = path
        self._remedy = remedy
        with wrap_as_store_error(path, remedy):
            self._handle = open_regular(path)
        # Closed with the last reference: a thread may still read while another one drops this object from a cache.
        self._closed = weakref.finalize(self, os.close, self._handle)

    def close(self) -> None:
        """Close the file at once, for all threads."""
        self._closed()

    def read(self, name: str, start: int, out: NDArray[Any]) -> None:
        """Fill `out` (m, ...) with rows start to start + m."""
        try:
            self._read(name, start, out)
        except DAMAGE as error:
            raise damaged(self._path, error, self._remedy) from None

    def _read(self, name: str, start: int, out: NDArray[Any]) -> None:
        if not self._closed.alive:
            raise ValueError("the file is closed")
        offset, shape, dtype = self.extents[name]
        if start < 0 or start + len(out) > shape[0] or out.shape[1:] != shape[1:]:
            raise ValueError(
                f"{name}: expected rows of shape {shape[1:]} between 0 and {shape[0]}, "
                f"got rows {start} to {start + len(out)} of shape {out.shape[1:]}"
            )
        size = out.nbytes
        if not size:
            return
        if offset < 0 or dtype != out.dtype or not out.flags.c_contiguous:
            raise ValueError(f"{name}: expected contiguous {out.dtype}, got {dtype}")
        extent = offset + start * (size // len(out))
        done = os.preadv(self._handle, [out.data], extent)
        while done < size:
            count = os.preadv(self._handle, [out.data.cast("B")[done:]], extent + done)
            if count == 0:
                raise ValueError(f"{name} is truncated")
            done += count
        if dtype == _FLAGS and out.tobytes().translate(None, b"\0\1"):  # faster than a maximum
            raise ValueError(f"{name}: expected flags of 0 or 1, got another value")
