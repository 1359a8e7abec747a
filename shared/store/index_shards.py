"""The shards that a feats.h5 points to: found where it says, and what it says."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..files.confinement import Inside
from ..hdf5.checked_reader import Extent, ValidatedGroup
from ..hdf5.opening import wrap_as_store_error
from ..hdf5.raw_rows import PackedRows, extents_of
from ..text import quoted
from .shard import REMEDY, ShardReader, open_shard

SHARD_EXTENTS = ("values_at", "valid_at", "frames")
"""Where in a shard's file its values and flags begin, in bytes (-1: it has none), and how many frames there are."""
MAX_PATH_LENGTH = 4095
MAX_OPEN_SHARDS = 64
"""Shards kept open at once: a process may open about a thousand files."""


@dataclass(frozen=True, kw_only=True)
class ShardTable:
    """What an index says of its shards, one row each: path below the index' folder, content, size in bytes, places."""

    paths: list[str]
    digests: list[str]
    sizes: NDArray[np.int64]
    values_at: NDArray[np.int64]
    valid_at: NDArray[np.int64]
    frames: NDArray[np.int64]

    @classmethod
    def read(cls, group: ValidatedGroup) -> "ShardTable":
        """From an index. Raises ValueError and others for what cannot be."""
        table = cls(
            paths=group.texts("path"),
            digests=group.texts("digest"),
            sizes=group.numbers("size", np.int64),
            **{name: group.numbers(name, np.int64) for name in SHARD_EXTENTS},
        )
        columns = (table.digests, table.sizes, table.values_at, table.valid_at, table.frames)
        if any(len(column) != len(table.paths) for column in columns):
            raise ValueError("shards: its columns have different lengths")
        for path in table.paths:
            if "\0" in path or len(path) > MAX_PATH_LENGTH or not {"", ".", ".."}.isdisjoint(path.split("/")):
                raise ValueError(f"expected the path of a shard below the index' folder, got {quoted(path)}")
        if (table.sizes < 0).any() or (table.frames < 0).any():
            raise ValueError("shards: negative sizes")
        return table

    def check_used(self, shards: NDArray[np.int64], frame_bytes: int) -> None:
        """Raise ValueError unless each of these shards of one stream is another file, with room for what is in it."""
        if len({self.paths[shard] for shard in shards}) != len(shards):
            raise ValueError("a shard stands twice in it")
        sizes, frames = self.sizes[shards], self.frames[shards]
        values_at, valid_at = self.values_at[shards], self.valid_at[shards]
        fits = frames <= sizes // (frame_bytes + 1)
        # Where that holds no product is too large for its 64 bits.
        fits &= (values_at <= sizes - np.where(fits, frames, 0) * frame_bytes) & (valid_at <= sizes - frames)
        if not (fits & (values_at >= -1) & (valid_at >= -1)).all():
            raise ValueError("values that end behind their shard")


def shard_rows(path: Path, digest: str) -> PackedRows | None:
    """Where the values of a shard are read, its tables left alone; None unless it is a shard of this `digest`."""
    try:
        root = open_shard(path)
        try:
            with wrap_as_store_error(path, REMEDY):
                return PackedRows(path, extents_of(root), remedy=REMEDY) if root.text("digest") == digest else None
        finally:
            root.close()
    except StoreError:
        return None


class IndexShards:
    """Numbered as in the index. Raises StoreError that names the shard that is missing, changed or foreign."""

    def __init__(self, index: Path, table: ShardTable) -> None:
        self._index, self._table = index, table
        self.paths = [index.parent / text for text in table.paths]
        self._inside = Inside(index.parent)
        self._seen: set[int] = set()
        self._open: OrderedDict[int, PackedRows] = OrderedDict()
        self._opening = threading.Lock()

    @property
    def identities(self) -> list[tuple[str, int]]:
        """Digest and size in bytes of each shard, as indexed."""
        return list(zip(self._table.digests, self._table.sizes.tolist(), strict=True))

    def check(self, shards: Iterable[int]) -> None:
        """That these shards are there, inside the index' folder, and of the size they had; looked at once each."""
        for shard in shards:
            if shard not in self._seen:
                self._check_size(shard)
                self._seen.add(shard)

    def rows(self, shard: int, frame_shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> PackedRows:
        """Where the values of a shard are read: where the index says, if the file has the size that it says.

        Opening a shard takes longer than reading it. Whoever reads compares with checksums in any case.
        """
        with self._opening:
            if shard in self._open:
                self._open.move_to_end(shard)
                return self._open[shard]
            self._check_size(shard)
            values_at, valid_at, frames = (int(getattr(self._table, name)[shard]) for name in SHARD_EXTENTS)
            extents = {
                "values": Extent(values_at, (frames, *frame_shape), dtype),
                "valid": Extent(valid_at, (frames,), np.dtype(bool)),
            }
            rows = self._open[shard] = PackedRows(self.paths[shard], extents, remedy=REMEDY)
            if len(self._open) > MAX_OPEN_SHARDS:
                self._open.popitem(last=False)
            return rows

    def close(self) -> None:
        """Let go of all files; they are opened again when they are read."""
        with self._opening:
            self._open.clear()
            self._seen.clear()

    def locate(self, shard: int) -> PackedRows:
        """Where the values of a shard are, as the shard itself says."""
        self._check_size(shard)
        rows = shard_rows(self.paths[shard], self._table.digests[shard])
        if rows is None:
            self.open(shard).close()  # says what is wrong with it
            raise StoreError(f"{self.paths[shard]}: damaged; {REMEDY}")
        with self._opening:
            self._open[shard] = rows
        return rows

    def open(self, shard: int) -> ShardReader:
        """Open a shard with all its tables."""
        self._check_confined(shard)  # before anything is opened
        reader = ShardReader(self.paths[shard])
        try:
            self.check_same(shard, reader)
        except StoreError:
            reader.close()
            raise
        return reader

    def is_outside(self, shard: int) -> bool:
        """Whether a shard's path leads out of the index' folder."""
        return bool(self._inside.escape_reason(self._table.paths[shard]))

    def check_same(self, shard: int, reader: ShardReader) -> None:
        """Raise StoreError unless an open shard is the one that was indexed."""
        self._check_confined(shard)
        if reader.digest != self._table.digests[shard] or reader.size != self._table.sizes[shard]:
            raise self._another(shard)

    def _check_size(self, shard: int) -> None:
        self._check_confined(shard)
        path = self.paths[shard]
        try:
            size = os.stat(path).st_size if path.is_file() else -1
        except OSError:
            size = -1
        if size != self._table.sizes[shard]:
            self.open(shard).close()  # says what is wrong with it
            raise self._another(shard)

    def _check_confined(self, shard: int) -> None:
        if way := self._inside.escape_reason(self._table.paths[shard]):
            raise StoreError(
                f"{self.paths[shard]}: expected a shard inside the folder of {self._index}, got a path {way}"
            )

    def _another(self, shard: int) -> StoreError:
        return StoreError(
            f"{self.paths[shard]}: the shard is not the one that {self._index} indexed; run `foal index` again"
        )
