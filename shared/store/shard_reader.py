"""Reads and verifies shards."""

import hashlib
import json
import math
from collections.abc import Sized
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..hdf5.checked_reader import ValidatedGroup
from ..hdf5.opening import FileFormat, open_hdf5, wrap_as_store_error
from ..hdf5.raw_rows import PackedRows, extents_of
from ..hdf5.seal import BytesRead
from ..text import quoted
from .entry import Entry, ShardHeader, Values, feature_checksum, finite

FORMAT, VERSION = "foal-shard", 4
REMEDY = "run `foal extract` again to restore the shard (or `foal import` for imported features)"

SHARD_FORMAT = FileFormat(
    name=FORMAT,
    version=VERSION,
    label="shard",
    missing=f"no such shard; {REMEDY}",
    damaged=REMEDY,
    older="run `foal extract` again",
)

_BLOCK_BYTES = 8 * 2**20
"""Bytes of values that are verified at a time."""


def open_shard(path: Path, *, whole: bool = False, on_bytes: BytesRead = lambda count: None) -> ValidatedGroup:
    """Open a shard's file and check its seal (every byte if `whole`); raises as `ShardReader` does."""
    return open_hdf5(path, SHARD_FORMAT, verify_up_to_bytes=math.inf if whole else 0, on_bytes=on_bytes)


class ShardReader:
    """An open shard: its tables in memory, its values read on demand.

    Example:
        with ShardReader(path) as shard:
            row = shard.ids.index("Ses01F_impro01_F000")
            entry = shard.entry(row)  # entry.values (t, [layers,] width), entry.valid (t,)

    Args:
        path: the shard.
        whole: verify the seal of the whole file first.
        on_bytes: called with the number of bytes read for that.

    Raises:
        StoreError: the shard is missing, damaged, of another format, or of an older version of foal.
        FutureError: it is of a newer version of foal.

    Attributes:
        header: how the features were made.
        ids: utterance ids, by row.
        offsets: (rows + 1,) first frame of each row in the packed values.
        origins: (rows,) time of each row's first frame, in seconds of the media.
        frame_shape: shape of one frame, ([layers,] width).
        dtype: number format of the values.
        digest: hash of the content, without creation time and command.
        size: bytes of the file.
    """

    def __init__(self, path: Path, *, whole: bool = False, on_bytes: BytesRead = lambda count: None) -> None:
        self.path = path
        root = open_shard(path, whole=whole, on_bytes=on_bytes)
        try:
            with wrap_as_store_error(path, REMEDY):
                self._read_tables(root)
        finally:
            root.close()

    def _read_tables(self, root: ValidatedGroup) -> None:
        self.header = ShardHeader(
            modality=root.text("modality"),
            config_hash=root.text("config_hash"),
            rate_hz=root.rate("rate_hz"),
            encoder=root.text("encoder"),
            revision=root.text("revision"),
            weights=root.text("weights"),
            random_weights=root.flag("random_weights"),
            config=root.mapping("config"),
        )
        self.digest = root.text("digest")
        self.created = root.text("created")
        self.ids = root.texts("ids")
        self.sources = root.texts("source")
        self.media = root.texts("media")
        # Shards of foal before 0.3 and imported features lack it.
        self.contents = root.texts("media_content") if "media_content" in root else [""] * len(self.ids)
        self.notes = root.texts("note")
        self.checksums = root.texts("checksum")
        self.offsets = root.numbers("offsets", np.int64)
        self.origins = root.numbers("origin", np.float64)
        extents = extents_of(root)
        frames, *frame_shape = extents["values"].shape
        self.frame_shape: tuple[int, ...] = tuple(frame_shape)
        self.dtype: np.dtype[Any] = extents["values"].dtype
        if "boxes" in root:
            extents["boxes"] = root.extent("boxes", "f", (2,))
            if extents["boxes"].shape != (frames, 4) or extents["boxes"].dtype != np.float32:
                raise ValueError("boxes: expected four numbers per frame")
        quality = root.group("quality") if "quality" in root else None
        self.quality: dict[str, NDArray[np.float32]] = (
            {} if quality is None else {name: quality.numbers(name, np.float32) for name in quality.names()}
        )
        columns: list[Sized] = [
            self.sources,
            self.media,
            self.contents,
            self.notes,
            self.checksums,
            self.origins,
            *self.quality.values(),
        ]
        offsets = self.offsets
        if not (
            all(len(column) == len(self.ids) for column in columns)
            and len(offsets) == len(self.ids) + 1
            and offsets[0] == 0
            and offsets[-1] == frames
            and (offsets[1:] >= offsets[:-1]).all()
            and np.isfinite(self.origins).all()
        ):
            raise StoreError(f"{self.path}: damaged (its offsets, ids and values are inconsistent); {REMEDY}")
        self._rows = PackedRows(self.path, extents, remedy=REMEDY)
        self.size = root.size

    def __len__(self) -> int:
        return len(self.ids)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; its tables remain available."""
        self._rows.close()

    @property
    def packed_extents(self) -> tuple[int, int, int]:
        """First byte of the values, first byte of the validity flags (both -1 for compact tables), and frames."""
        values, valid = self._rows.extents["values"], self._rows.extents["valid"]
        contiguous = values.offset >= 0 and valid.offset >= 0
        return (values.offset, valid.offset, values.shape[0]) if contiguous else (-1, -1, values.shape[0])

    def values(self, start: int, stop: int) -> Values:
        """Packed rows start:stop of values, (stop - start, [layers,] width)."""
        return self._read("values", start, stop)

    def valid(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Packed rows start:stop of the validity flags, (stop - start,)."""
        return self._read("valid", start, stop)

    def boxes(self, start: int, stop: int) -> NDArray[np.float32] | None:
        """Packed rows start:stop of the boxes, (stop - start, 4), or None for features without."""
        return self._read("boxes", start, stop) if "boxes" in self._rows.extents else None

    def _read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        extent = self._rows.extents[name]
        if not 0 <= start <= stop <= extent.shape[0]:
            raise StoreError(f"{self.path}: expected frames between 0 and {extent.shape[0]}, got {start} to {stop}")
        out = np.empty((stop - start, *extent.shape[1:]), extent.dtype)
        self._rows.read(name, start, out)
        return out

    def entry(self, row: int) -> Entry:
        """The utterance of a row."""
        start, stop = int(self.offsets[row]), int(self.offsets[row + 1])
        return Entry(
            id=self.ids[row],
            values=self.values(start, stop),
            valid=self.valid(start, stop),
            origin=float(self.origins[row]),
            source=self.sources[row],
            media=self.media[row],
            content=self.contents[row],
            note=self.notes[row],
            boxes=self.boxes(start, stop),
            quality=self.quality_of(row),
        )

    def quality_of(self, row: int) -> dict[str, float]:
        """The quality measures of a row by name, without unknown ones."""
        return {name: float(column[row]) for name, column in self.quality.items() if np.isfinite(column[row])}


def verify_shard(path: Path) -> list[str]:
    """The problems of a shard, of which every byte is read; empty if it is intact."""
    try:
        with ShardReader(path, whole=True) as shard:
            return damage_in(shard)
    except StoreError as error:
        return [str(error).removeprefix(f"{path}: ")]


def damage_in(shard: ShardReader) -> list[str]:
    """The problems in the content of an open shard. Raises StoreError if it cannot be read."""
    problems = []
    per_frame = math.prod(shard.frame_shape) * shard.dtype.itemsize
    # Blocks of rows that begin in the same _BLOCK_BYTES bytes.
    blocks = np.split(
        np.arange(len(shard)), np.flatnonzero(np.diff(shard.offsets[:-1] * per_frame // _BLOCK_BYTES)) + 1
    )
    for rows in blocks if len(shard) else ():
        first, stop = int(shard.offsets[rows[0]]), int(shard.offsets[rows[-1] + 1])
        values, valid = shard.values(first, stop), shard.valid(first, stop)
        all_finite = finite(values)
        for row in rows:
            part = slice(int(shard.offsets[row]) - first, int(shard.offsets[row + 1]) - first)
            if feature_checksum(values[part], valid[part], shard.origins[row]) != shard.checksums[row]:
                problems.append(f"utterance {quoted(shard.ids[row])}: its values do not match their checksum")
            elif not all_finite and not finite(values[part]):
                problems.append(f"utterance {quoted(shard.ids[row])}: NaN or infinite values")
    if len(set(shard.ids)) != len(shard.ids):
        problems.append("an utterance occurs twice")
    if shard.digest != content_digest(shard.header.config_hash, shard.ids, shard.checksums):
        problems.append("its digest does not match its ids and checksums")
    return problems


def content_digest(config_hash: str, ids: list[str], checksums: list[str]) -> str:
    """Hash of a shard's content, without creation time and command."""
    return hashlib.blake2b(json.dumps([VERSION, config_hash, ids, checksums]).encode(), digest_size=16).hexdigest()
