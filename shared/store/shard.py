"""The HDF5 shard: the features of one chunk of utterances in one modality; its layout, writer, reader and check."""

import hashlib
import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..files.atomic import replaced_atomically
from ..hdf5.checked_reader import ValidatedGroup, as_json, write_attributes, write_strings
from ..hdf5.opening import open_hdf5, wrap_as_store_error
from ..hdf5.raw_rows import PackedRows, extents_of
from ..hdf5.seal import BytesRead, write_seal
from ..hdf5.writer import create_hdf5
from ..text import quoted
from .entry import Entry, ShardHeader, Values, feature_checksum, finite

__all__ = ["Entry", "ShardHeader", "ShardReader", "ShardWriter", "Values", "feature_checksum", "verify_shard"]

FORMAT, VERSION = "foal-shard", 4
REMEDY = "run `foal extract` again to restore the shard (`foal import`, where its features were imported)"

LONGEST_COMMAND = 4000

_BLOCK = 8 * 2**20
"""Bytes of values that are checked at a time."""


class ShardWriter:
    """Collects a chunk and writes it whole when the `with` block ends well; after an error nothing is left.

    Everything is kept until then: one contiguous dataset is the fastest layout to read, and a chunk is small.
    """

    def __init__(
        self, path: Path, header: ShardHeader, *, dtype: Literal["float16", "float32"], command: str = ""
    ) -> None:
        self.path, self.header, self.command = path, header, command
        self.dtype = np.dtype(dtype)
        self._entries: list[Entry] = []

    def __enter__(self) -> Self:
        return self

    def add(self, entry: Entry) -> None:
        """Take one utterance. Raises StoreError if its numbers are not finite in the shard's number format."""
        with np.errstate(over="ignore"):
            values = entry.values.astype(self.dtype)
        if len(values) != len(entry.valid):
            raise StoreError(f"{entry.id}: {len(values)} frames but {len(entry.valid)} validity flags")
        if self._entries and values.shape[1:] != self._entries[0].values.shape[1:]:
            raise StoreError(
                f"{entry.id}: expected frames of shape {self._entries[0].values.shape[1:]}, got {values.shape[1:]}"
            )
        if not finite(values):
            finite_before = bool(np.isfinite(entry.values).all())
            why = "too large for float16; set extract.dtype to float32" if finite_before else "NaN or infinite"
            raise StoreError(f"{entry.id}: the {self.header.modality} features are {why}")
        self._entries.append(replace(entry, values=values, valid=entry.valid.astype(bool)))

    @property
    def frames(self) -> int:
        """Frames taken so far."""
        return sum(len(entry.values) for entry in self._entries)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._entries:
            self._write()

    def _write(self) -> None:
        try:
            with replaced_atomically(self.path) as temporary:
                with create_hdf5(temporary) as file:
                    self._fill(file)
                write_seal(temporary)
                problems = verify_shard(temporary)
                if problems:
                    raise StoreError(f"{self.path}: what was written does not read back: {problems[0]}")
        except ValueError as error:
            raise StoreError(f"{self.path}: cannot be written: {error}") from None

    def _fill(self, file: h5py.File) -> None:
        entries, header = self._entries, self.header
        file["values"] = np.concatenate([entry.values for entry in entries])
        file["valid"] = np.concatenate([entry.valid for entry in entries])
        file["offsets"] = np.cumsum([0, *(len(entry.values) for entry in entries)], dtype=np.int64)
        file["origin"] = np.array([entry.origin for entry in entries], np.float64)
        ids, checksums = [entry.id for entry in entries], [entry.checksum() for entry in entries]
        write_strings(
            file,
            ids=ids,
            checksum=checksums,
            source=[entry.source for entry in entries],
            media=[entry.media for entry in entries],
            # What went wrong is told in other programs' words.
            note=[entry.note.replace("\0", "") for entry in entries],
        )
        if any(entry.boxes is not None for entry in entries):
            file["boxes"] = np.concatenate([_boxes(entry) for entry in entries])
        for name in sorted({name for entry in entries for name in entry.quality}):
            known = [entry.quality.get(name, np.nan) for entry in entries]
            file[f"quality/{name}"] = np.array(known, np.float32)
        write_attributes(
            file.attrs,
            format=FORMAT,
            version=VERSION,
            modality=header.modality,
            config_hash=header.config_hash,
            rate_hz=header.rate_hz,
            encoder=header.encoder,
            revision=header.revision,
            weights=header.weights,
            random_weights=header.random_weights,
            config=as_json("config", header.config),
            versions=json.dumps(_versions()),
            command=self.command.replace("\0", "")[:LONGEST_COMMAND],
            created=datetime.now(UTC).isoformat(timespec="microseconds"),
            digest=_digest(header.config_hash, ids, checksums),
        )


def open_shard(path: Path, *, whole: bool = False, on_bytes: BytesRead = lambda count: None) -> ValidatedGroup:
    """Open a shard's file, its seal checked (to the last bit if `whole`); raises as `ShardReader` does."""
    return open_hdf5(
        path,
        kind=FORMAT,
        version=VERSION,
        missing=f"the shard is gone; {REMEDY}",
        remedy=REMEDY,
        verify_up_to_bytes=math.inf if whole else 0,
        on_bytes=on_bytes,
    )


class ShardReader:
    """An open shard. Raises StoreError for a file that is missing, damaged, foreign or (FutureError) from a newer foal.

    Its tables are read at once and the values later; if `whole`, the seal is checked first.
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
        self.digest, self.created = root.text("digest"), root.text("created")
        self.ids, self.sources, self.media, self.notes, self.checksums = (
            root.texts(name) for name in ("ids", "source", "media", "note", "checksum")
        )
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
        if not (
            len(self.ids)
            == len(self.sources)
            == len(self.media)
            == len(self.notes)
            == len(self.checksums)
            == len(self.origins)
            == len(self.offsets) - 1
            and self.offsets[0] == 0
            and self.offsets[-1] == frames
            and (self.offsets[1:] >= self.offsets[:-1]).all()
            and np.isfinite(self.origins).all()
            and all(len(column) == len(self.ids) for column in self.quality.values())
        ):
            raise StoreError(f"{self.path}: damaged (offsets, ids and values do not fit together); {REMEDY}")
        self._rows = PackedRows(self.path, extents, remedy=REMEDY)
        self.size = root.size

    def __len__(self) -> int:
        return len(self.ids)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; its tables can still be looked at."""
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
        place = self._rows.extents[name]
        if not 0 <= start <= stop <= place.shape[0]:
            raise StoreError(f"{self.path}: expected frames of its {place.shape[0]}, got {start} to {stop}")
        out = np.empty((stop - start, *place.shape[1:]), place.dtype)
        self._rows.read(name, start, out)
        return out

    def entry(self, row: int) -> Entry:
        """One utterance of the shard."""
        start, stop = int(self.offsets[row]), int(self.offsets[row + 1])
        return Entry(
            id=self.ids[row],
            values=self.values(start, stop),
            valid=self.valid(start, stop),
            origin=float(self.origins[row]),
            source=self.sources[row],
            media=self.media[row],
            note=self.notes[row],
            boxes=self.boxes(start, stop),
            quality=self.quality_of(row),
        )

    def quality_of(self, row: int) -> dict[str, float]:
        """The quality of one utterance, by name; what is not known of it is left out."""
        return {name: float(column[row]) for name, column in self.quality.items() if np.isfinite(column[row])}


def verify_shard(path: Path) -> list[str]:
    """Everything wrong with a shard, read to its last byte; empty if nothing is."""
    try:
        with ShardReader(path, whole=True) as shard:
            return damage_in(shard)
    except StoreError as error:
        return [str(error).removeprefix(f"{path}: ")]


def damage_in(shard: ShardReader) -> list[str]:
    """Everything wrong with the content of an open shard. Raises StoreError if it cannot be read."""
    problems = []
    per_frame = math.prod(shard.frame_shape) * shard.dtype.itemsize
    # Blocks of utterances that begin within the same so many bytes.
    blocks = np.split(np.arange(len(shard)), np.flatnonzero(np.diff(shard.offsets[:-1] * per_frame // _BLOCK)) + 1)
    for rows in blocks if len(shard) else ():
        first, stop = int(shard.offsets[rows[0]]), int(shard.offsets[rows[-1] + 1])
        values, valid = shard.values(first, stop), shard.valid(first, stop)
        sound = finite(values)
        for row in rows:
            part = slice(int(shard.offsets[row]) - first, int(shard.offsets[row + 1]) - first)
            if feature_checksum(values[part], valid[part], shard.origins[row]) != shard.checksums[row]:
                problems.append(f"utterance {quoted(shard.ids[row])}: its values do not match their checksum")
            elif not sound and not finite(values[part]):
                problems.append(f"utterance {quoted(shard.ids[row])}: NaN or infinite values")
    if len(set(shard.ids)) != len(shard.ids):
        problems.append("an utterance stands in it twice")
    if shard.digest != _digest(shard.header.config_hash, shard.ids, shard.checksums):
        problems.append("its digest does not match its ids and checksums")
    return problems


def _boxes(entry: Entry) -> NDArray[np.float32]:
    return np.full((len(entry.values), 4), np.nan, np.float32) if entry.boxes is None else entry.boxes


def _digest(key: str, ids: list[str], checksums: list[str]) -> str:
    """The shard's content in one hash; the time and command of its making are not part of it."""
    return hashlib.blake2b(json.dumps([VERSION, key, ids, checksums]).encode(), digest_size=16).hexdigest()


@cache
def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in ("foal-mer", "torch", "transformers", "facenet-pytorch", "decord", "av", "soxr", "numpy", "h5py"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
