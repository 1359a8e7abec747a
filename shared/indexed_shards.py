"""The shards that a feats.h5 points to: found where it says, and what it says."""

import os
import threading
from collections import OrderedDict
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from .errors import StoreError
from .rows import PackedRows, Place
from .shard import REMEDY, ShardReader

SHARD_PLACES = ("values_at", "valid_at", "frames")
"""Where in a shard's file its values and flags begin, in bytes (-1: HDF5 has to say), and how many frames there are."""
OPEN_SHARDS = 64
"""Shards kept open at once: a process may open about a thousand files."""


def shard_rows(path: Path, digest: str) -> PackedRows | None:
    """Where the values of a shard are read, its tables left alone; None unless it is a shard of this `digest`."""
    try:
        file = h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDONLY)
        try:
            found = np.empty((), object)
            h5py.h5a.open(file, b"digest").read(found)
            known = found[()] in (digest, digest.encode())
            return PackedRows.within(file, path, REMEDY) if known else None
        finally:
            file.close()
    except (OSError, KeyError, TypeError, ValueError, RuntimeError):
        return None


class IndexedShards:
    """Numbered as in the index. Raises StoreError that names the shard that is missing, changed or foreign."""

    def __init__(self, index: Path, table: h5py.Group) -> None:
        """From the index' table of shards, which is read to its end."""
        self._index = index
        self.paths = [index.parent / str(text) for text in table["path"].asstr()[:]]
        self._sizes: NDArray[np.int64] = table["size"][:]
        self._digests = [str(text) for text in table["digest"].asstr()[:]]
        self._places: list[NDArray[np.int64]] = [table[name][:] for name in SHARD_PLACES]
        self._open: OrderedDict[int, PackedRows] = OrderedDict()
        self._opening = threading.Lock()

    def rows(self, shard: int, frame_shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> PackedRows:
        """Where the values of a shard are read: where the index says, if the file has the size that it says.

        Opening a shard takes longer than reading it. Whoever reads compares with checksums in any case.
        """
        with self._opening:
            if shard in self._open:
                self._open.move_to_end(shard)
                return self._open[shard]
            values_at, valid_at, frames = (int(column[shard]) for column in self._places)
            path = self.paths[shard]
            if values_at >= 0 and path.is_file() and path.stat().st_size == self._sizes[shard]:
                places = {
                    "values": Place(values_at, (frames, *frame_shape), dtype),
                    "valid": Place(valid_at, (frames,), np.dtype(bool)),
                }
                rows = PackedRows(path, places, remedy=REMEDY)
            else:
                rows = self.found(shard)
            self._open[shard] = rows
            if len(self._open) > OPEN_SHARDS:
                self._open.popitem(last=False)
            return rows

    def close(self) -> None:
        """Let go of all files; they are opened again when they are read."""
        with self._opening:
            self._open.clear()

    def found(self, shard: int) -> PackedRows:
        """Where the values of a shard are, as the shard itself says."""
        rows = shard_rows(self.paths[shard], self._digests[shard])
        if rows is None:
            self.open(shard).close()  # says what is wrong with it
            raise StoreError(f"{self.paths[shard]}: damaged; {REMEDY}")
        self._check(shard, self._digests[shard])
        self._open[shard] = rows
        return rows

    def open(self, shard: int) -> ShardReader:
        """Open a shard with all its tables."""
        reader = ShardReader(self.paths[shard])
        try:
            self._check(shard, reader.digest)
        except StoreError:
            reader.close()
            raise
        return reader

    def _check(self, shard: int, digest: str) -> None:
        path = self.paths[shard]
        if digest != self._digests[shard] or path.stat().st_size != self._sizes[shard]:
            raise StoreError(f"{path}: the shard is not the one that {self._index} indexed; run `foal index` again")
