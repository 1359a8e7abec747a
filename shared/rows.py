"""Reading packed rows of values at the speed of the disk: past HDF5, where the file says that they lie in one piece."""

import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from .hdf5 import damage_named


class Place(NamedTuple):
    """Where a dataset lies: its first byte in the file (-1: none, or it lies in pieces), and its form."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class PackedRows:
    """The datasets `values` and `valid` of an HDF5 file; no HDF5 file needs to be open.

    Several threads may read at once. Raises StoreError that names the file for damaged content.
    """

    def __init__(self, path: Path, places: Mapping[str, Place], *, remedy: str, group: bytes = b"/") -> None:
        self.places, self._path, self._remedy, self._group = places, path, remedy, group
        with damage_named(path, remedy):
            self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        # Closed when nobody refers to it any more: a thread may still be reading what another one has put away.
        weakref.finalize(self, os.close, self._handle)

    @classmethod
    def within(cls, group: h5py.h5g.GroupID, path: Path, remedy: str) -> Self:
        """Of an open file or group."""
        places = {}
        with damage_named(path, remedy):
            for name in ("values", "valid"):
                # Its identifier alone: h5py's own object takes three times as long to make.
                dataset = h5py.h5d.open(group, name.encode())
                in_one_piece = dataset.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS
                offset = dataset.get_offset() if in_one_piece else None
                places[name] = Place(-1 if offset is None else offset, dataset.shape, dataset.dtype)
        return cls(path, places, remedy=remedy, group=h5py.h5i.get_name(group))

    def read(self, name: str, start: int, out: NDArray[Any]) -> None:
        """Fill `out` (m, ...) with the rows from `start` on."""
        with damage_named(self._path, self._remedy):
            offset, shape, dtype = self.places[name]
            if start < 0 or start + len(out) > shape[0] or out.shape[1:] != shape[1:]:
                raise ValueError(f"rows {start} to {start + len(out)} of {name}, which has {shape[0]}")
            if not out.nbytes:
                return
            if offset < 0 or dtype != out.dtype or not out.flags.c_contiguous:
                with h5py.File(self._path, "r") as file:
                    file[self._group][name].read_direct(out, np.s_[start : start + len(out)])
                return
            place = offset + start * (out.nbytes // len(out))
            view = memoryview(out.reshape(-1).view(np.uint8))  # type: ignore[arg-type]  # a buffer all the same
            while len(view):
                count = os.preadv(self._handle, [view], place)
                if count == 0:
                    raise ValueError(f"{name} ends before its time")
                view, place = view[count:], place + count
