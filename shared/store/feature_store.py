"""feats.h5: the manifest and the shards joined; FeatureStore opens it and reads features by utterance."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..hdf5.raw_rows import PackedRows
from ..hdf5.seal import BytesRead
from ..text import quoted, shortened
from .entry import finite
from .index_reader import FORMAT, REMEDY, VERIFY_UP_TO_BYTES, VERSION, StreamIndex, StreamInfo, read_index
from .index_shards import IndexedShards
from .shard import REMEDY as SHARD_REMEDY
from .shard import ShardReader, Values, feature_checksum

__all__ = ["FORMAT", "REMEDY", "VERSION", "FeatureStore", "Packed", "StreamInfo"]

_BLOCK = 8 * 2**20
"""Bytes of values that are checked at a time."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Utterances end to end: values (sum of t, [layers,] width), offsets (n + 1), valid (sum of t)."""

    values: Values
    offsets: NDArray[np.int64]
    valid: NDArray[np.bool_]


class FeatureStore:
    """An open feats.h5, with its shards or packed. Raises StoreError that names what is missing, changed or foreign.

    Shards are looked at when first read. Every one must be where the index says, with the content it says.
    """

    def __init__(
        self, path: Path, *, verify_up_to_bytes: float = VERIFY_UP_TO_BYTES, on_bytes: BytesRead = lambda count: None
    ) -> None:
        """Of an index of at most `verify_up_to_bytes` bytes the seal is checked first, `on_bytes` of the bytes."""
        self.path = path
        content = read_index(path, verify_up_to_bytes=verify_up_to_bytes, on_bytes=on_bytes)
        self.digest, self.packed_inside, self.utterances = content.digest, content.packed, content.utterances
        self._streams = content.streams
        self.streams = {name: stream.info for name, stream in content.streams.items()}
        self._shards = IndexedShards(path, content.shards)
        self._inside: dict[str, PackedRows] = {}

    def __len__(self) -> int:
        return len(self.utterances)

    @property
    def shard_paths(self) -> list[Path]:
        """The shards that the index points to; none if the values are packed inside."""
        return self._shards.paths

    @property
    def shard_identities(self) -> list[tuple[str, int]]:
        """Digest and size in bytes of each of those shards, as the index records them."""
        return self._shards.identities

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the index and every open shard."""
        self._inside.clear()
        self._shards.close()

    @property
    def random_weights(self) -> bool:
        """Whether any modality comes from an encoder that never learned anything."""
        return any(modality.random_weights for modality in self.streams.values())

    def lengths(self, name: str) -> NDArray[np.int64]:
        """Frames of each utterance in a modality, (n,)."""
        return self._stream(name).length

    def valid_frames(self, name: str) -> NDArray[np.int64]:
        """Valid frames of each utterance in a modality, (n,)."""
        return self._stream(name).valid_frames

    def notes(self, name: str) -> list[str]:
        """Why a modality is missing, per utterance; empty where it is not."""
        return self._stream(name).notes

    def quality(self, name: str) -> dict[str, NDArray[np.float32]]:
        """What is known of each utterance's sound or picture, by column, (n,) each; NaN where it is not known.

        Of faces `face_rate` is the share of pictures with a face, NaN without a picture.
        """
        columns = dict(self._stream(name).quality)
        if name.partition("/")[0] == "face":
            lengths = self.lengths(name)
            rate = np.where(lengths > 0, self.valid_frames(name) / np.maximum(lengths, 1), np.nan)
            columns["face_rate"] = rate.astype(np.float32)
        return columns

    def provenance(self) -> dict[str, Any]:
        """How every modality was made, for JSON."""
        return {
            name: {
                "encoder": modality.encoder,
                "revision": modality.revision,
                "weights": modality.weights,
                "random_weights": modality.random_weights,
                "config_hash": modality.config_hash,
                "config": dict(modality.config),
            }
            for name, modality in self.streams.items()
        }

    def extents(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where each utterance of a modality lies: the number of its shard, and its offset there, (n,) each."""
        stream = self._stream(name)
        return stream.shard, stream.offset

    def packed(
        self, name: str, rows: Sequence[int] | None = None, *, out: tuple[Values, NDArray[np.bool_]] | None = None
    ) -> Packed:
        """The features of the given utterances (all by default), end to end in the order given, read into `out` if any.

        Read shard by shard in the order of the disk, neighbours in one go; several threads may do so at once. Raises
        StoreError for values that do not match their checksum.
        """
        stream = self._stream(name)
        modality = stream.info
        wanted = np.arange(len(self)) if rows is None else np.asarray(rows, np.int64)
        lengths = stream.length[wanted]
        self.check_files(name, wanted)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        frames = int(offsets[-1])
        values, valid = out or (np.empty((frames, *modality.frame_shape), modality.dtype), np.empty(frames, bool))
        shard, start = stream.shard[wanted], stream.offset[wanted]
        order = np.lexsort((start, shard))
        # A run is a stretch of utterances that lie side by side both on the disk and in the answer.
        follows = (
            (shard[order][1:] == shard[order][:-1])
            & (start[order][1:] == start[order][:-1] + lengths[order][:-1])
            & (order[1:] == order[:-1] + 1)
        )
        for run in np.split(order, np.flatnonzero(~follows) + 1):
            if len(run) == 0:
                continue
            first, last = run[0], run[-1]
            size = int(offsets[last + 1] - offsets[first])
            source = self._rows(name, int(shard[first]))
            into = slice(int(offsets[first]), int(offsets[first]) + size)

            def read(
                source: PackedRows, at: int = int(start[first]), into: slice = into, run: NDArray[np.int64] = run
            ) -> None:
                source.read("values", at, values[into])
                source.read("valid", at, valid[into])
                for position in run:
                    part = slice(int(offsets[position]), int(offsets[position + 1]))
                    self._check(name, int(wanted[position]), values[part], valid[part])

            try:
                read(source)
            except StoreError:
                if self.packed_inside:
                    raise
                # A shard that was extracted again has the same values, but perhaps not in the same place.
                read(self._shards.found(int(shard[first])))
        return Packed(values=values, offsets=offsets, valid=valid)

    def boxes(self, name: str, row: int) -> NDArray[np.float32] | None:
        """Where the face of an utterance was, (t, 4) as in `Entry`; None for features without boxes, or packed ones."""
        if self.packed_inside:
            return None
        stream = self._stream(name)
        start = int(stream.offset[row])
        with self.open_shard(int(stream.shard[row])) as reader:
            return reader.boxes(start, start + int(stream.length[row]))

    def _check(self, name: str, row: int, values: Values, valid: NDArray[np.bool_]) -> None:
        stream = self._streams[name]
        if feature_checksum(values, valid, stream.origins[row]) != stream.checksums[row]:
            raise StoreError(
                f"{self._file_of(name, row)}: the {name} values of utterance {quoted(self.utterances[row].id)} "
                f"do not match their checksum; {SHARD_REMEDY}"
            )

    def _file_of(self, name: str, row: int) -> Path:
        """The file that holds the values of an utterance."""
        return self.path if self.packed_inside else self.shard_paths[int(self._streams[name].shard[row])]

    def _stream(self, name: str) -> StreamIndex:
        if name not in self._streams:
            raise StoreError(
                f"{self.path}: there are no {name} features; it holds {shortened(', '.join(self.streams)) or 'none'}"
            )
        return self._streams[name]

    def check_files(self, name: str, rows: Sequence[int] | NDArray[np.int64] | None = None) -> None:
        """Raise StoreError unless the shards of these utterances are there, of the sizes that the index says.

        Cheap, and looked at once: to be called before memory is taken for what the index promises.
        """
        if not self.packed_inside:
            shard = self._stream(name).shard
            self._shards.check(np.unique(shard if rows is None else shard[np.asarray(rows, np.int64)]).tolist())

    def stream(self, name: str) -> StreamIndex:
        """All that the index says of a stream."""
        return self._stream(name)

    def shard_is_outside(self, shard: int) -> bool:
        """Whether a shard's path leads out of the index' folder: then it is not to be looked at."""
        return self._shards.is_outside(shard)

    def check_shard(self, shard: int, reader: ShardReader) -> None:
        """Raise StoreError unless an open shard is the one that was indexed."""
        self._shards.check_same(shard, reader)

    def open_shard(self, shard: int) -> ShardReader:
        """Open one of the shards and check that it is the one that was indexed."""
        return self._shards.open(shard)

    def _rows(self, name: str, shard: int) -> PackedRows:
        """Where the values of a shard are read, or (-1) those of a stream inside."""
        if shard >= 0:
            modality = self.streams[name]
            return self._shards.rows(shard, modality.frame_shape, np.dtype(modality.dtype))
        if name not in self._inside:
            again = "ask for the file again, or pack it anew with `foal index --pack`"
            self._inside[name] = PackedRows(self.path, self._streams[name].inside or {}, remedy=again)
        return self._inside[name]

    def verify_packed_values(self) -> list[tuple[Path, str]]:
        """Read every utterance, compare it with its checksum, look for NaN; gives the files and what is wrong."""
        problems = []
        for name in self.streams:
            for block in self.blocks(name):
                try:
                    sound = finite(self.packed(name, block).values)
                except StoreError:
                    sound = False
                if not sound:
                    problems += [problem for row in block for problem in self._problem(name, row)]
        return problems

    def blocks(self, name: str) -> Iterator[list[int]]:
        """All rows of a stream in the order of the disk, about so many bytes at a time."""
        stream = self._stream(name)
        per_frame = int(np.prod(stream.info.frame_shape)) * np.dtype(stream.info.dtype).itemsize
        order = np.lexsort((stream.offset, stream.shard))
        block = np.cumsum(stream.length[order]) * per_frame // _BLOCK
        cuts = np.flatnonzero((np.diff(block) != 0) | (np.diff(stream.shard[order]) != 0)) + 1
        yield from (rows.tolist() for rows in np.split(order, cuts) if len(rows))

    def _problem(self, name: str, row: int) -> list[tuple[Path, str]]:
        path = self._file_of(name, row)
        try:
            if finite(self.packed(name, [row]).values):
                return []
        except StoreError as error:
            return [(path, str(error).removeprefix(f"{path}: "))]
        return [(path, f"the {name} values of utterance {quoted(self.utterances[row].id)} are NaN or infinite")]
