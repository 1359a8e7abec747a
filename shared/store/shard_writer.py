"""Writes shards."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..files.atomic import replaced_atomically
from ..hdf5.checked_reader import as_json, write_attributes, write_strings
from ..hdf5.seal import write_seal
from ..hdf5.writer import create_hdf5
from .entry import Entry, ShardHeader, finite
from .shard_reader import FORMAT, VERSION, content_digest, verify_shard

MAX_COMMAND_LENGTH = 4000


class ShardWriter:
    """Collects the utterances of a chunk and writes them as one shard when the `with` block ends without an error.

    The entries stay in memory until then: one contiguous dataset is the fastest layout to read, and a chunk is small.

    Example:
        with ShardWriter(path, header, dtype="float16") as writer:
            writer.add(Entry(id="u1", values=values, valid=valid, origin=0.0125, source=source, media=""))

    Args:
        path: the shard to write; it appears complete or not at all.
        header: how the features were made.
        dtype: number format of the values in the file.
        command: the command line, recorded in the file.
    """

    def __init__(
        self, path: Path, header: ShardHeader, *, dtype: Literal["float16", "float32"], command: str = ""
    ) -> None:
        self.path = path
        self.header = header
        self.command = command
        self.dtype = np.dtype(dtype)
        self._entries: list[Entry] = []

    def __enter__(self) -> Self:
        return self

    def add(self, entry: Entry) -> None:
        """Add an utterance. Raises StoreError unless its values fit the shard and are finite in its number format."""
        with np.errstate(over="ignore"):
            values = entry.values.astype(self.dtype)
        if len(values) != len(entry.valid):
            raise StoreError(
                f"{entry.id}: expected {len(values)} validity flags, one per frame, got {len(entry.valid)}"
            )
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
        """Number of frames added so far."""
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
                    raise StoreError(f"{self.path}: verification after writing failed: {problems[0]}")
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
            # Notes quote the error messages of other programs.
            note=[entry.note.replace("\0", "") for entry in entries],
        )
        if any(entry.content for entry in entries):
            write_strings(file, media_content=[entry.content for entry in entries])
        if any(entry.boxes is not None for entry in entries):
            file["boxes"] = np.concatenate([_boxes(entry) for entry in entries])
        for name in sorted({name for entry in entries for name in entry.quality}):
            column = [entry.quality.get(name, np.nan) for entry in entries]
            file[f"quality/{name}"] = np.array(column, np.float32)
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
            command=self.command.replace("\0", "")[:MAX_COMMAND_LENGTH],
            created=datetime.now(UTC).isoformat(timespec="microseconds"),
            digest=content_digest(header.config_hash, ids, checksums),
        )


def _boxes(entry: Entry) -> NDArray[np.float32]:
    return np.full((len(entry.values), 4), np.nan, np.float32) if entry.boxes is None else entry.boxes


@cache
def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for package in ("foal-mer", "torch", "transformers", "facenet-pytorch", "decord", "av", "soxr", "numpy", "h5py"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "unknown"
    return versions
