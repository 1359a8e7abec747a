"""feats.h5: the manifest and the shards joined; FeatureStore opens it and reads features by utterance."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .errors import StoreError
from .hdf5 import damage_named, open_hdf5
from .indexed_shards import IndexedShards
from .rows import PackedRows
from .shard import REMEDY as SHARD_REMEDY
from .shard import ShardReader, Values, feature_checksum
from .utterance import COLUMNS, NUMBERS, Utterance

FORMAT, VERSION = "foal-feats", 3
REMEDY = "make it anew with `foal index`"


@dataclass(frozen=True, kw_only=True)
class Modality:
    """One stream of features: frames of `frame_shape` ([layers,] width) at `rate_hz`, and how they were made.

    `name` is that of the modality, or `face/clip` where a modality has several encoders.
    """

    name: str
    frame_shape: tuple[int, ...]
    rate_hz: float
    encoder: str
    revision: str
    weights: str
    random_weights: bool
    key: str
    dtype: str
    config: Mapping[str, Any]

    @property
    def width(self) -> int:
        """Numbers per frame (and layer)."""
        return self.frame_shape[-1]


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

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inside: dict[str, PackedRows] = {}
        self._file = open_hdf5(
            path,
            kind=FORMAT,
            version=VERSION,
            missing="there is no such file; make it with `foal extract` or `foal index`",
        )
        try:
            with damage_named(path, REMEDY):
                self._read()
        except StoreError:
            self.close()
            raise

    def _read(self) -> None:
        attrs = self._file.attrs
        self.digest = str(attrs["digest"])
        self.packed_inside = bool(attrs["packed"])
        self.utterances = self._read_utterances()
        shards = self._file["shards"]
        self._shards = IndexedShards(self.path, shards)
        self.modalities: dict[str, Modality] = {}
        self._columns: dict[str, dict[str, NDArray[np.int64]]] = {}
        self._notes: dict[str, list[str]] = {}
        self._checksums: dict[str, list[str]] = {}
        self._origins: dict[str, NDArray[np.float64]] = {}
        self._quality: dict[str, dict[str, NDArray[np.float32]]] = {}
        for name in self._stream_names():
            group = self._file[f"modalities/{name}"]
            a = group.attrs
            self.modalities[name] = Modality(
                name=name, frame_shape=tuple(int(side) for side in a["frame_shape"]), rate_hz=float(a["rate_hz"]),
                encoder=str(a["encoder"]), revision=str(a["revision"]), weights=str(a["weights"]),
                random_weights=bool(a["random_weights"]), key=str(a["key"]), dtype=str(a["dtype"]),
                config=json.loads(a["config"]),
            )  # fmt: skip
            columns = {column: group[column][:] for column in ("shard", "row", "offset", "length", "valid_frames")}
            if any(len(column) != len(self.utterances) for column in columns.values()):
                raise StoreError(f"{self.path}: damaged ({name} does not cover every utterance); {REMEDY}")
            self._columns[name] = columns
            self._notes[name] = [str(text) for text in group["note"].asstr()[:]]
            self._checksums[name] = [str(text) for text in group["checksum"].asstr()[:]]
            self._origins[name] = group["origin"][:]
            self._quality[name] = {column: values[:] for column, values in group.get("quality", {}).items()}

    def _stream_names(self) -> list[str]:
        """`face` and `face/clip` alike: the groups that say how they were made, in the order of their names."""
        names: list[str] = []
        self._file["modalities"].visititems(lambda name, item: names.append(name) if "key" in item.attrs else None)
        return sorted(names)

    def _read_utterances(self) -> tuple[Utterance, ...]:
        table = self._file["utterances"]
        columns: dict[str, list[Any]] = {}
        for name in COLUMNS:
            if name in NUMBERS:
                columns[name] = [None if np.isnan(value) else float(value) for value in table[name][:]]
            else:
                columns[name] = [str(text) for text in table[name].asstr()[:]]
        rows = zip(*(columns[name] for name in COLUMNS), strict=True)
        return tuple(Utterance(**dict(zip(COLUMNS, row, strict=True))) for row in rows)

    def __len__(self) -> int:
        return len(self.utterances)

    @property
    def shard_paths(self) -> list[Path]:
        """The shards that the index points to; none if the values are packed inside."""
        return self._shards.paths

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the index and every open shard."""
        self._inside.clear()
        if hasattr(self, "_shards"):  # a damaged index has none
            self._shards.close()
        self._file.close()

    @property
    def random_weights(self) -> bool:
        """Whether any modality comes from an encoder that never learned anything."""
        return any(modality.random_weights for modality in self.modalities.values())

    def lengths(self, name: str) -> NDArray[np.int64]:
        """Frames of each utterance in a modality, (n,)."""
        return self._columns[self._modality(name)]["length"]

    def valid_frames(self, name: str) -> NDArray[np.int64]:
        """Valid frames of each utterance in a modality, (n,)."""
        return self._columns[self._modality(name)]["valid_frames"]

    def notes(self, name: str) -> list[str]:
        """Why a modality is missing, per utterance; empty where it is not."""
        return self._notes[self._modality(name)]

    def quality(self, name: str) -> dict[str, NDArray[np.float32]]:
        """What is known of each utterance's sound or picture, by column, (n,) each; NaN where it is not known.

        Of faces `face_rate` is the share of pictures with a face, NaN without a picture.
        """
        columns = dict(self._quality[self._modality(name)])
        if name.partition("/")[0] == "face":
            lengths = self.lengths(name)
            rate = np.where(lengths > 0, self.valid_frames(name) / np.maximum(lengths, 1), np.nan)
            columns["face_rate"] = rate.astype(np.float32)
        return columns

    def provenance(self) -> dict[str, Any]:
        """How every modality was made, for JSON."""
        return {
            name: {
                "encoder": modality.encoder, "revision": modality.revision, "weights": modality.weights,
                "random_weights": modality.random_weights, "key": modality.key, "config": dict(modality.config),
            }
            for name, modality in self.modalities.items()
        }  # fmt: skip

    def places(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where each utterance of a modality lies: the number of its shard, and its offset there, (n,) each."""
        column = self._columns[self._modality(name)]
        return column["shard"], column["offset"]

    def packed(
        self, name: str, rows: Sequence[int] | None = None, *, out: tuple[Values, NDArray[np.bool_]] | None = None
    ) -> Packed:
        """The features of the given utterances (all by default), end to end in the order given, read into `out` if any.

        Read shard by shard in the order of the disk, neighbours in one go; several threads may do so at once. Raises
        StoreError for values that do not match their checksum.
        """
        column = self._columns[self._modality(name)]
        modality = self.modalities[name]
        wanted = np.arange(len(self)) if rows is None else np.asarray(rows, np.int64)
        lengths = column["length"][wanted]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        frames = int(offsets[-1])
        values, valid = out or (np.empty((frames, *modality.frame_shape), modality.dtype), np.empty(frames, bool))
        shard, start = column["shard"][wanted], column["offset"][wanted]
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
        column = self._columns[self._modality(name)]
        start = int(column["offset"][row])
        with self.open_shard(int(column["shard"][row])) as reader:
            return reader.boxes(start, start + int(column["length"][row]))

    def _check(self, name: str, row: int, values: Values, valid: NDArray[np.bool_]) -> None:
        origin, checksum = float(self._origins[name][row]), self._checksums[name][row]
        if feature_checksum(values, valid, origin) != checksum:
            raise StoreError(
                f"{self._file_of(name, row)}: the {name} values of utterance {self.utterances[row].id!r} "
                f"do not match their checksum; {SHARD_REMEDY}"
            )

    def _file_of(self, name: str, row: int) -> Path:
        """The file that holds the values of an utterance."""
        return self.path if self.packed_inside else self.shard_paths[int(self._columns[name]["shard"][row])]

    def _modality(self, name: str) -> str:
        if name not in self.modalities:
            raise StoreError(
                f"{self.path}: there are no {name} features; it holds {', '.join(self.modalities) or 'none'}"
            )
        return name

    def open_shard(self, shard: int) -> ShardReader:
        """Open one of the shards and check that it is the one that was indexed."""
        return self._shards.open(shard)

    def _rows(self, name: str, shard: int) -> PackedRows:
        """Where the values of a shard are read, or (-1) those of a stream inside."""
        if shard >= 0:
            modality = self.modalities[name]
            return self._shards.rows(shard, modality.frame_shape, np.dtype(modality.dtype))
        if name not in self._inside:
            again = "ask for the file again, or pack it anew with `foal index --pack`"
            self._inside[name] = PackedRows.within(self._file["modalities"][name].id, self.path, again)
        return self._inside[name]

    def check_rows(self) -> list[tuple[Path, str]]:
        """Read every utterance and compare it with the checksum in the index; gives the file and what is wrong."""
        problems = []
        for name in self.modalities:
            for row in range(len(self)):
                try:
                    self.packed(name, [row])
                except StoreError as error:
                    path = self._file_of(name, row)
                    problems.append((path, str(error).removeprefix(f"{path}: ")))
        return problems
