"""The HDF5 shard: the features of one chunk of utterances in one modality; its layout, writer, reader and check."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import h5py
import numpy as np
import xxhash
from numpy.typing import NDArray

from .errors import StoreError
from .files import replaced_atomically
from .hdf5 import damage_named, open_hdf5

FORMAT, VERSION = "foal-shard", 2
REMEDY = "run `foal extract` again to restore the shard (`foal import`, where its features were imported)"

Values = NDArray[np.float16] | NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ShardHeader:
    """How the features of a shard were made.

    `key` hashes everything that changes the numbers; `rate_hz` is frames per second; `config` is the full
    configuration behind the key; `weights` is the hash of the encoder's weights.
    """

    modality: str
    key: str
    rate_hz: float
    encoder: str
    revision: str
    weights: str
    random_weights: bool
    config: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One utterance's features: values (t, [layers,] width), valid (t,), and where they come from.

    `origin` is the time of the first frame in seconds of the media; `source` says which stretch of which file, and
    `media` the file's fingerprint: together they tell whether the features are still those of the manifest's row (no
    fingerprint: they are tied to no file). `note` is why a modality is missing, if it is.

    For people to look at, and not part of the checksum: `boxes` (t, 4), where the face was, x0, y0, x1, y1 as fractions
    of the person's part of the picture, NaN where it was not, or None for features without; `quality`, by name.
    """

    id: str
    values: Values
    valid: NDArray[np.bool_]
    origin: float
    source: str
    media: str
    note: str = ""
    boxes: NDArray[np.float32] | None = None
    quality: Mapping[str, float] = field(default_factory=dict)

    def checksum(self) -> str:
        """Hash of all that training reads."""
        return feature_checksum(self.values, self.valid, self.origin)


def feature_checksum(values: Values, valid: NDArray[np.bool_], origin: float) -> str:
    """Hash of one utterance's features, as hex; against damage, not against malice, and faster than any disk."""
    digest = xxhash.xxh3_128(np.ascontiguousarray(values).data)
    digest.update(np.ascontiguousarray(valid).data)
    digest.update(repr(float(origin)).encode())
    return str(digest.hexdigest())


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
        if not np.isfinite(values).all():
            finite = bool(np.isfinite(entry.values).all())
            why = "too large for float16; set extract.store to float32" if finite else "NaN or infinite"
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
        entries = self._entries
        offsets = np.cumsum([0, *(len(entry.values) for entry in entries)], dtype=np.int64)
        checksums = [entry.checksum() for entry in entries]
        text = h5py.string_dtype("utf-8")
        with replaced_atomically(self.path) as temporary:
            with h5py.File(temporary, "w") as file:
                file["values"] = np.concatenate([entry.values for entry in entries])
                file["valid"] = np.concatenate([entry.valid for entry in entries])
                file["offsets"] = offsets
                file["origin"] = np.array([entry.origin for entry in entries], np.float64)
                for name, column in (
                    ("ids", [entry.id for entry in entries]),
                    ("source", [entry.source for entry in entries]),
                    ("media", [entry.media for entry in entries]),
                    ("note", [entry.note for entry in entries]),
                    ("checksum", checksums),
                ):
                    file.create_dataset(name, data=column, dtype=text)
                if any(entry.boxes is not None for entry in entries):
                    file["boxes"] = np.concatenate([_boxes(entry) for entry in entries])
                for name in sorted({name for entry in entries for name in entry.quality}):
                    known = [entry.quality.get(name, np.nan) for entry in entries]
                    file[f"quality/{name}"] = np.array(known, np.float32)
                header = self.header
                file.attrs.update(
                    format=FORMAT, version=VERSION, modality=header.modality, key=header.key,
                    rate_hz=header.rate_hz, encoder=header.encoder, revision=header.revision,
                    weights=header.weights, random_weights=header.random_weights,
                    config=json.dumps(dict(header.config), sort_keys=True), versions=json.dumps(_versions()),
                    command=self.command, created=datetime.now(UTC).isoformat(timespec="microseconds"),
                    digest=_digest(header.key, [entry.id for entry in entries], checksums),
                )  # fmt: skip
            problems = verify_shard(temporary)
            if problems:
                raise StoreError(f"{self.path}: what was written does not read back: {problems[0]}")


class ShardReader:
    """An open shard. Raises StoreError for a file that is missing, damaged, foreign or from a newer foal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_hdf5(path, kind=FORMAT, version=VERSION, missing=f"the shard is gone; {REMEDY}")
        try:
            with damage_named(path, REMEDY):
                self._read_header()
        except StoreError:
            self.close()
            raise

    def _read_header(self) -> None:
        attrs = self._file.attrs
        self.header = ShardHeader(
            modality=str(attrs["modality"]), key=str(attrs["key"]), rate_hz=float(attrs["rate_hz"]),
            encoder=str(attrs["encoder"]), revision=str(attrs["revision"]), weights=str(attrs["weights"]),
            random_weights=bool(attrs["random_weights"]), config=json.loads(attrs["config"]),
        )  # fmt: skip
        self.digest = str(attrs["digest"])
        self.created = str(attrs["created"])
        self.ids, self.sources, self.media, self.notes, self.checksums = (
            [str(text) for text in self._file[name].asstr()[:]]
            for name in ("ids", "source", "media", "note", "checksum")
        )
        self.offsets: NDArray[np.int64] = self._file["offsets"][:]
        self.origins: NDArray[np.float64] = self._file["origin"][:]
        self.frame_shape: tuple[int, ...] = self._file["values"].shape[1:]
        self.dtype: np.dtype[Any] = self._file["values"].dtype
        self.quality: dict[str, NDArray[np.float32]] = {
            name: column[:] for name, column in self._file.get("quality", {}).items()
        }
        frames = self._file["values"].shape[0]
        if not (
            len(self.ids) == len(self.sources) == len(self.media) == len(self.notes) == len(self.checksums)
            == len(self.origins) == len(self.offsets) - 1
            and self.offsets[0] == 0 and self.offsets[-1] == frames == self._file["valid"].shape[0]
            and (np.diff(self.offsets) >= 0).all()
            and all(len(column) == len(self.ids) for column in self.quality.values())
        ):  # fmt: skip
            raise StoreError(f"{self.path}: damaged (offsets, ids and values do not fit together); {REMEDY}")

    def __len__(self) -> int:
        return len(self.ids)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the reader is of no use afterwards."""
        self._file.close()

    def values(self, start: int, stop: int) -> Values:
        """Packed rows start:stop of values, (stop - start, [layers,] width)."""
        values: Values = self._read("values", start, stop)
        return values

    def valid(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Packed rows start:stop of the validity flags, (stop - start,)."""
        flags: NDArray[np.bool_] = self._read("valid", start, stop)
        return flags

    def boxes(self, start: int, stop: int) -> NDArray[np.float32] | None:
        """Packed rows start:stop of the boxes, (stop - start, 4), or None for features without."""
        boxes: NDArray[np.float32] | None = self._read("boxes", start, stop) if "boxes" in self._file else None
        return boxes

    def _read(self, name: str, start: int, stop: int) -> Any:
        with damage_named(self.path, REMEDY):
            return self._file[name][start:stop]

    def entry(self, row: int) -> Entry:
        """One utterance of the shard."""
        start, stop = int(self.offsets[row]), int(self.offsets[row + 1])
        return Entry(
            id=self.ids[row], values=self.values(start, stop), valid=self.valid(start, stop),
            origin=float(self.origins[row]), source=self.sources[row], media=self.media[row], note=self.notes[row],
            boxes=self.boxes(start, stop), quality=self.quality_of(row),
        )  # fmt: skip

    def quality_of(self, row: int) -> dict[str, float]:
        """The quality of one utterance, by name; what is not known of it is left out."""
        return {name: float(column[row]) for name, column in self.quality.items() if np.isfinite(column[row])}


def verify_shard(path: Path) -> list[str]:
    """Everything wrong with a shard, read to its last byte; empty if nothing is."""
    try:
        with ShardReader(path) as shard:
            return damage_in(shard)
    except StoreError as error:
        return [str(error).removeprefix(f"{path}: ")]


def damage_in(shard: ShardReader) -> list[str]:
    """Everything wrong with the content of an open shard. Raises StoreError if it cannot be read."""
    problems = []
    for row, (name, checksum) in enumerate(zip(shard.ids, shard.checksums, strict=True)):
        entry = shard.entry(row)
        if entry.checksum() != checksum:
            problems.append(f"utterance {name!r}: its values do not match their checksum")
        elif not np.isfinite(entry.values).all():
            problems.append(f"utterance {name!r}: NaN or infinite values")
    if len(set(shard.ids)) != len(shard.ids):
        problems.append("an utterance stands in it twice")
    if shard.digest != _digest(shard.header.key, shard.ids, shard.checksums):
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
