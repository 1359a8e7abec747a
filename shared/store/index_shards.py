"""The shards that a feats.h5 points to, each compared with what the index recorded."""

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
"""First byte of a shard's values and of its validity flags (-1: none), and its number of frames."""
MAX_PATH_LENGTH = 4095
MAX_OPEN_SHARDS = 64
"""Shards that are kept open: a process may open about a thousand files."""


@dataclass(frozen=True, kw_only=True)
class ShardTable:
    """The table of shards in an index: path below the folder of the index, content digest, bytes, SHARD_EXTENTS."""

    paths: list[str]
    digests: list[str]
    sizes: NDArray[np.int64]
    values_at: NDArray[np.int64]
    valid_at: NDArray[np.int64]
    frames: NDArray[np.int64]

    @classmethod
    def read(cls, group: ValidatedGroup) -> "ShardTable":
        """Read the table; raises as ValidatedGroup does."""
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
                raise ValueError(f"expected the path of a shard below the folder of the index, got {quoted(path)}")
        if (table.sizes < 0).any() or (table.frames < 0).any():
            raise ValueError("shards: negative sizes")
        return table

    def check_used(self, shards: NDArray[np.int64], frame_bytes: int) -> None:
        """Raise ValueError unless these shards of one stream are different files, large enough for their frames."""
        if len({self.paths[shard] for shard in shards}) != len(shards):
            raise ValueError("a shard occurs twice")
        sizes, frames = self.sizes[shards], self.frames[shards]
        values_at, valid_at = self.values_at[shards], self.valid_at[shards]
        fits = frames <= sizes // (frame_bytes + 1)
        # Only then the product below fits into 64 bits.
        fits &= (values_at <= sizes - np.where(fits, frames, 0) * frame_bytes) & (valid_at <= sizes - frames)
        if not (fits & (values_at >= -1) & (valid_at >= -1)).all():
            raise ValueError("values that end beyond their shard")


def shard_rows(path: Path, digest: str) -> PackedRows | None:
    """The packed tables of a shard; None unless it is intact and has this content digest."""
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
    """The shards of an index by number. Its methods raise StoreError for a missing, changed or foreign shard."""

    def __init__(self, index: Path, table: ShardTable) -> None:
        self._index = index
        self._table = table
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
        """Check that these shards are inside the folder of the index and have their recorded sizes, once per shard."""
        for shard in shards:
            if shard not in self._seen:
                self._check_size(shard)
                self._seen.add(shard)

    def rows(self, shard: int, frame_shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> PackedRows:
        """The packed tables of a shard, at the extents that the index recorded, if the file has the recorded size.

        Opening the shard itself would take longer than reading it, and the caller compares checksums in any case.
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
        """Close all files; they are opened again when they are read."""
        with self._opening:
            self._open.clear()
            self._seen.clear()

    def locate(self, shard: int) -> PackedRows:
        """The packed tables of a shard, at the extents that the shard itself records."""
        self._check_size(shard)
        rows = shard_rows(self.paths[shard], self._table.digests[shard])
        if rows is None:
            self.open(shard).close()  # raises the exact error
            raise StoreError(f"{self.paths[shard]}: damaged; {REMEDY}")
        with self._opening:
            self._open[shard] = rows
        return rows

    def open(self, shard: int) -> ShardReader:
        """Open a shard with its tables."""
        self._check_confined(shard)
        reader = ShardReader(self.paths[shard])
        try:
            self.check_same(shard, reader)
        except StoreError:
            reader.close()
            raise
        return reader

    def is_outside(self, shard: int) -> bool:
        """Whether the path of a shard leads out of the folder of the index."""
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
            self.open(shard).close()  # raises the exact error
            raise self._another(shard)

    def _check_confined(self, shard: int) -> None:
        if reason := self._inside.escape_reason(self._table.paths[shard]):
            raise StoreError(
                f"{self.paths[shard]}: expected a shard inside the folder of {self._index}, got a path {reason}"
            )

    def _another(self, shard: int) -> StoreError:
        return StoreError(
            f"{self.paths[shard]}: the shard is not the one that {self._index} indexed; run `foal index` again"
        )
