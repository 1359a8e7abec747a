"""FeatureStore: opens feats.h5, and reads features by utterance from its shards or from the index itself."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..config.settings import modality_of
from ..errors import StoreError
from ..hdf5.raw_rows import PackedRows
from ..hdf5.seal import BytesRead
from ..seen_corpora import seen_corpora_json
from ..text import quoted, shortened
from ..utterance import Utterance
from .index_reader import FORMAT, REMEDY, VERIFY_UP_TO_BYTES, VERSION, IndexContent, StreamIndex, StreamInfo, read_index
from .index_shards import IndexShards
from .packed import Packed, contiguous_runs
from .shard import REMEDY as SHARD_REMEDY
from .shard import Values, feature_checksum

__all__ = ["FORMAT", "REMEDY", "VERSION", "FeatureStore", "Packed", "StreamInfo"]

Arrays = tuple[Values, NDArray[np.bool_]]
"""Values (t, [layers,] width) and their validity (t,)."""


class FeatureStore:
    """An open feats.h5.

    Shards are opened when they are first read. Every value is compared with its checksum: a missing, changed or damaged
    shard is an error, never zeros. Several threads may read at once. A store can be pickled; the copy opens the file
    when it is first used, so that a store may be part of a dataset in the workers of a torch DataLoader.

    Example:
        with FeatureStore("feats.h5") as store:
            print(len(store), list(store.streams))  # 5531 ['audio', 'face/clip']
            (row,) = store.rows(["Ses01F_impro01_F000"])
            values, valid = store.read("audio", row)  # (t, [layers,] width), (t,)
            print(store.utterances[row].label, values[valid].mean(axis=0))

    Args:
        path: the index.
        verify_up_to_bytes: of a larger packed index, verify everything but the values, which are verified when they are
            read; other indexes are verified completely.
        on_bytes: called with the number of bytes read for that.

    Raises:
        StoreError: the index is missing, damaged, of another format or of an older version of foal.
        FutureError: it is of a newer version of foal.
    """

    def __init__(
        self, path: Path | str, *, verify_up_to_bytes: float = VERIFY_UP_TO_BYTES, on_bytes: BytesRead = lambda _: None
    ) -> None:
        self.path = Path(path)
        self._verify_up_to_bytes = verify_up_to_bytes
        self._digest: str | None = None
        self._content = read_index(self.path, verify_up_to_bytes=verify_up_to_bytes, on_bytes=on_bytes)

    @cached_property
    def _content(self) -> IndexContent:
        """The tables of the index, read again after unpickling."""
        content = read_index(self.path, verify_up_to_bytes=self._verify_up_to_bytes)
        if self._digest not in (None, content.digest):
            raise StoreError(f"{self.path}: the index has been replaced since this store was opened; open it again")
        return content

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_verify_up_to_bytes": self._verify_up_to_bytes, "_digest": self.digest}

    def __len__(self) -> int:
        return len(self._content.columns["id"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all files; they are opened again if they are read again."""
        self._inside.clear()
        self.shards.close()

    @property
    def digest(self) -> str:
        """Hash of everything that training reads."""
        return self._content.digest

    @property
    def packed_inside(self) -> bool:
        """Whether the values are in the index itself (`foal index --pack`)."""
        return self._content.packed

    @property
    def utterances(self) -> tuple[Utterance, ...]:
        """The rows of the manifest that the index holds."""
        return self._content.utterances

    @cached_property
    def streams(self) -> dict[str, StreamInfo]:
        """The streams by name, such as `audio` and `face/clip`."""
        return {name: stream.info for name, stream in self._content.streams.items()}

    @cached_property
    def shards(self) -> IndexShards:
        """The shards that the index points to."""
        return IndexShards(self.path, self._content.shards)

    @property
    def shard_paths(self) -> list[Path]:
        """Their paths; empty if the values are packed inside."""
        return self.shards.paths

    @property
    def random_weights(self) -> bool:
        """Whether the encoder of any stream has random weights."""
        return any(stream.random_weights for stream in self.streams.values())

    def rows(self, ids: Iterable[str]) -> list[int]:
        """The rows of utterances, by id. Raises StoreError for an id that is not in the index."""
        rows = []
        for name in ids:
            if name not in self._row_of_id:
                raise StoreError(f"{self.path}: expected the id of one of its utterances, got {quoted(name)}")
            rows.append(self._row_of_id[name])
        return rows

    @cached_property
    def _row_of_id(self) -> dict[str, int]:
        return {utterance_id: row for row, utterance_id in enumerate(self._content.columns["id"])}

    def read(self, stream: str, row: int) -> Arrays:
        """Read the features of one utterance.

        Args:
            stream: a stream of the index.
            row: the utterance, 0 to len(store) - 1.

        Returns:
            values (t, [layers,] width) and their validity (t,); t is 0 where the modality is missing.

        Raises:
            StoreError: the shard is missing or damaged, or does not match the index.
            IndexError: there is no such row.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"{self.path}: expected a row from 0 to {len(self) - 1}, got {row}")
        columns = self.stream(stream)
        if not self.packed_inside:
            self.shards.check((int(columns.shard[row]),))
        frames = int(columns.length[row])
        values = np.empty((frames, *columns.info.frame_shape), columns.info.dtype)
        valid = np.empty(frames, bool)
        self._read_run(columns, (row,), (0, frames), (values, valid))
        return values, valid

    def lengths(self, name: str) -> NDArray[np.int64]:
        """Frames of each utterance in a stream, (n,)."""
        return self.stream(name).length

    def valid_frames(self, name: str) -> NDArray[np.int64]:
        """Valid frames of each utterance in a stream, (n,)."""
        return self.stream(name).valid_frames

    def notes(self, name: str) -> list[str]:
        """Why the modality of an utterance is missing; empty where it is present."""
        return self.stream(name).notes

    def quality(self, name: str) -> dict[str, NDArray[np.float32]]:
        """Quality measures of each utterance's audio or video by name, (n,) each; NaN where unknown.

        For faces, `face_rate` is the share of frames with a face, NaN without frames.
        """
        columns = dict(self.stream(name).quality)
        if modality_of(name) == "face":
            lengths = self.lengths(name)
            rate = np.where(lengths > 0, self.valid_frames(name) / np.maximum(lengths, 1), np.nan)
            columns["face_rate"] = rate.astype(np.float32)
        return columns

    def provenance(self) -> dict[str, Any]:
        """How every stream was made, for JSON."""
        keys = ("encoder", "revision", "weights", "random_weights", "config_hash")
        return {
            name: {
                **{key: getattr(stream, key) for key in keys},
                "config": dict(stream.config),
                "seen_corpora": seen_corpora_json((name, stream.encoder), stream.weights),
            }
            for name, stream in self.streams.items()
        }

    def extents(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The shard number of each utterance of a stream, and its first frame there, (n,) each."""
        return self.stream(name).shard, self.stream(name).offset

    def stream(self, name: str) -> StreamIndex:
        """The columns of a stream in the index. Raises StoreError if there is no such stream."""
        if name not in self._content.streams:
            available = shortened(", ".join(self.streams)) or "none"
            raise StoreError(f"{self.path}: expected one of its streams ({available}), got {quoted(name)}")
        return self._content.streams[name]

    def packed(self, name: str, rows: Sequence[int] | None = None, *, out: Arrays | None = None) -> Packed:
        """Read the concatenated features of several utterances.

        The files are read in the order of their content, neighbouring utterances with one call.

        Args:
            name: a stream of the index.
            rows: the utterances, in the order of the result (default: all).
            out: arrays to read into, values (sum of t, [layers,] width) and valid (sum of t,).

        Raises:
            StoreError: a shard is missing or damaged, or values do not match their checksum.
        """
        stream = self.stream(name)
        wanted = np.arange(len(self)) if rows is None else np.asarray(rows, np.int64)
        lengths = stream.length[wanted]
        self.check_files(name, wanted)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        if out is None:
            frames = int(offsets[-1])
            out = np.empty((frames, *stream.info.frame_shape), stream.info.dtype), np.empty(frames, bool)
        values, valid = out
        for run in contiguous_runs(stream.shard[wanted], stream.offset[wanted], lengths):
            ends = offsets[run[0] : run[-1] + 2]
            target = slice(int(ends[0]), int(ends[-1]))
            self._read_run(stream, wanted[run].tolist(), (ends - ends[0]).tolist(), (values[target], valid[target]))
        return Packed(values=values, offsets=offsets, valid=valid)

    def _read_run(self, stream: StreamIndex, rows: Sequence[int], offsets: Sequence[int], out: Arrays) -> None:
        """Read utterances `rows` (m,), neighbours in their file, into arrays, where `offsets` (m + 1,) delimits them.

        Each is compared with its checksum.
        """
        shard = int(stream.shard[rows[0]])
        try:
            self._read_checked(self._packed_rows(stream.info, shard), stream, rows, offsets, out)
        except StoreError:
            if self.packed_inside:
                raise
            # A shard that was extracted again has the same values, but perhaps at another offset in the file.
            self._read_checked(self.shards.locate(shard), stream, rows, offsets, out)

    def _read_checked(
        self, source: PackedRows, stream: StreamIndex, rows: Sequence[int], offsets: Sequence[int], out: Arrays
    ) -> None:
        start, (values, valid) = int(stream.offset[rows[0]]), out
        source.read("values", start, values)
        source.read("valid", start, valid)
        for row, first, last in zip(rows, offsets[:-1], offsets[1:], strict=True):
            if feature_checksum(values[first:last], valid[first:last], stream.origins[row]) != stream.checksums[row]:
                name = stream.info.name
                raise StoreError(
                    f"{self.file_of(name, row)}: the {name} values of utterance {quoted(self.utterances[row].id)} "
                    f"do not match their checksum; {SHARD_REMEDY}"
                )

    def boxes(self, name: str, row: int) -> NDArray[np.float32] | None:
        """The face boxes of an utterance, (t, 4) as in `Entry`; None for streams without, and for packed indexes."""
        if self.packed_inside:
            return None
        stream, start = self.stream(name), int(self.stream(name).offset[row])
        with self.shards.open(int(stream.shard[row])) as reader:
            return reader.boxes(start, start + int(stream.length[row]))

    def file_of(self, name: str, row: int) -> Path:
        """The file with the values of an utterance."""
        return self.path if self.packed_inside else self.shard_paths[int(self.stream(name).shard[row])]

    def check_files(self, name: str, rows: Sequence[int] | NDArray[np.int64] | None = None) -> None:
        """Raise StoreError unless the shards of these utterances exist and have the sizes of the index.

        Cheap, and done once per shard: call it before allocating the memory that the index asks for.
        """
        if not self.packed_inside:
            shard = self.stream(name).shard
            self.shards.check(np.unique(shard if rows is None else shard[np.asarray(rows, np.int64)]).tolist())

    @cached_property
    def _inside(self) -> dict[str, PackedRows]:
        return {}

    def _packed_rows(self, info: StreamInfo, shard: int) -> PackedRows:
        """The packed tables of a shard or, if `shard` is -1, of a stream in the index."""
        if shard >= 0:
            return self.shards.rows(shard, info.frame_shape, np.dtype(info.dtype))
        if info.name not in self._inside:
            remedy = "copy the file again, or rebuild it with `foal index --pack`"
            self._inside[info.name] = PackedRows(self.path, self.stream(info.name).inside or {}, remedy=remedy)
        return self._inside[info.name]
