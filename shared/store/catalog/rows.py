"""The rows of shards in columns: where the features of each utterance are, and what they were computed from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..shard import ShardHeader

TEXTS = ("ids", "sources", "checksums", "media", "contents", "notes")
INTEGERS = ("shard", "row", "offset", "length", "valid_frames")

Texts = NDArray[np.object_]
"""(n,) of str. Equal values of a column with few different ones should be the same object."""
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class FeatureLocation:
    """The location of one utterance's features: row `row` of a shard, packed frames offset to offset + length.

    The other fields are those of the shard's row, see `Entry`.
    """

    shard: Path
    row: int
    offset: int
    length: int
    origin: float
    checksum: str
    source: str
    media: str
    content: str
    note: str
    valid_frames: int
    quality: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class ShardInfo:
    """A shard as it was read: header, content digest, shape and format of its frames, size in bytes, time of writing.

    `extents` is the first byte of the values, the first byte of the validity flags, and the number of frames.
    `modified` is the file's modification time in nanoseconds before it was read; `verified`: every byte of the file was
    compared with its checksum.
    """

    header: ShardHeader
    digest: str
    frame_shape: tuple[int, ...]
    dtype: str
    size: int
    extents: tuple[int, int, int]
    created: str
    modified: int
    verified: bool


def _no_texts() -> Texts:
    return np.zeros(0, object)


def _no_integers() -> Integers:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, kw_only=True)
class CatalogRows:
    """The rows of some shards, (n,) each.

    `ids` are in Unicode form NFC; `shard` is a number that the owner of the rows gives to each shard; `quality` has NaN
    for unknown measures. The other columns are those of `FeatureLocation`.
    """

    ids: Texts = field(default_factory=_no_texts)
    sources: Texts = field(default_factory=_no_texts)
    checksums: Texts = field(default_factory=_no_texts)
    media: Texts = field(default_factory=_no_texts)
    contents: Texts = field(default_factory=_no_texts)
    notes: Texts = field(default_factory=_no_texts)
    shard: Integers = field(default_factory=_no_integers)
    row: Integers = field(default_factory=_no_integers)
    offset: Integers = field(default_factory=_no_integers)
    length: Integers = field(default_factory=_no_integers)
    valid_frames: Integers = field(default_factory=_no_integers)
    origins: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0, np.float64))
    quality: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Integers | NDArray[np.bool_]) -> "CatalogRows":
        """Some of the rows, in the given order."""
        columns = {name: getattr(self, name)[rows] for name in (*TEXTS, *INTEGERS, "origins")}
        return CatalogRows(**columns, quality={name: column[rows] for name, column in self.quality.items()})

    def renumbered(self, numbers: Integers) -> "CatalogRows":
        """The same rows, with shard i numbered `numbers[i]`."""
        columns = {name: getattr(self, name) for name in (*TEXTS, *INTEGERS, "origins", "quality")}
        return CatalogRows(**(columns | {"shard": numbers[self.shard]}))

    def of_shards(self, kept: NDArray[np.bool_]) -> "CatalogRows":
        """The rows of the shards i with `kept[i]`, which are numbered without gaps."""
        return self if kept.all() else self.take(kept[self.shard]).renumbered(np.cumsum(kept, dtype=np.int64) - 1)

    def located(self, row: int, shard: Path) -> FeatureLocation:
        """One of the rows, of which `shard` is the file."""
        quality = {name: float(column[row]) for name, column in self.quality.items() if np.isfinite(column[row])}
        return FeatureLocation(
            shard=shard,
            row=int(self.row[row]),
            offset=int(self.offset[row]),
            length=int(self.length[row]),
            origin=float(self.origins[row]),
            checksum=self.checksums[row],
            source=self.sources[row],
            media=self.media[row],
            content=self.contents[row],
            note=self.notes[row],
            valid_frames=int(self.valid_frames[row]),
            quality=quality,
        )


def concatenated(parts: Sequence[CatalogRows]) -> CatalogRows:
    """The rows of several tables, one after the other; a quality measure that a table lacks is NaN there."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return CatalogRows()
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in (*TEXTS, *INTEGERS, "origins")}
    names = sorted({name for part in parts for name in part.quality})
    unknown = {len(part): np.full(len(part), np.nan, np.float32) for part in parts if set(part.quality) != set(names)}
    quality = {
        name: np.concatenate([part.quality[name] if name in part.quality else unknown[len(part)] for part in parts])
        for name in names
    }
    return CatalogRows(**columns, quality=quality)
