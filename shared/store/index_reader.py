"""Reads and checks the tables of feats.h5: utterances, streams, and the locations of their values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config.settings import STREAM_NAME, STREAM_RESERVED
from ..hdf5.checked_reader import Extent, ValidatedGroup
from ..hdf5.opening import FileFormat, open_hdf5, verify_seal, wrap_as_store_error
from ..hdf5.raw_rows import check_frame_shape, extents_of
from ..hdf5.seal import ByteRange, BytesRead
from ..parallel.collection import paused_collection
from ..soft_labels import shares_from_text
from ..utterance import COLUMNS, DIALOG, DISTINCT, INTEGERS, NUMBERS, Utterance, parse_crop, utterances_of
from .index_shards import ShardTable

FORMAT, VERSION = "foal-feats", 5
REMEDY = "rebuild it with `foal index`"
INDEX_FORMAT = FileFormat(
    name=FORMAT,
    version=VERSION,
    label="index",
    missing="no such file; create it with `foal extract` or `foal index`",
    damaged=REMEDY,
    older="run `foal index`",
)
VERIFY_UP_TO_BYTES = 256 * 2**20
"""Of a larger index with packed values, everything but these values is verified whenever it is opened."""

LOCATION_COLUMNS = ("shard", "row", "offset", "length", "valid_frames")


@dataclass(frozen=True, kw_only=True)
class StreamInfo:
    """One encoder's features of a modality: frames of `frame_shape` ([layers,] width) at `rate_hz`, 0 for
    text.

    `name` is the modality, or `face/clip` where a modality has several encoders; the other fields are those of
    ShardHeader.
    """

    name: str
    frame_shape: tuple[int, ...]
    rate_hz: float
    encoder: str
    revision: str
    weights: str
    random_weights: bool
    config_hash: str
    dtype: str
    config: Mapping[str, Any]

    @property
    def width(self) -> int:
        """Numbers per frame (and layer)."""
        return self.frame_shape[-1]


@dataclass(frozen=True, kw_only=True)
class StreamIndex:
    """The columns of a stream, (n,) each: shard number and row, first frame and number of frames, checksum and more."""

    info: StreamInfo
    shard: NDArray[np.int64]
    row: NDArray[np.int64]
    offset: NDArray[np.int64]
    length: NDArray[np.int64]
    valid_frames: NDArray[np.int64]
    origins: NDArray[np.float64]
    notes: list[str]
    checksums: list[str]
    quality: Mapping[str, NDArray[np.float32]]
    inside: Mapping[str, Extent] | None
    """The extents of the values in the index, if it is packed."""


@dataclass(frozen=True, kw_only=True)
class IndexHeader:
    """What an index points to: its digest, whether it is packed, its shards, and how its streams were made.

    `fingerprint` is that of `index_fingerprint`; empty in an index of an earlier version.
    """

    digest: str
    fingerprint: str
    packed: bool
    shards: ShardTable
    streams: Mapping[str, StreamInfo]


@dataclass(frozen=True, kw_only=True)
class IndexContent:
    """The tables of an index, without packed values; `columns` are those of the utterances, by field."""

    digest: str
    packed: bool
    columns: Mapping[str, Sequence[Any]]
    shards: ShardTable
    streams: Mapping[str, StreamIndex]

    @cached_property
    def utterances(self) -> tuple[Utterance, ...]:
        """The utterances, built when they are first needed."""
        with paused_collection():
            return tuple(utterances_of(self.columns))


def read_index_header(path: Path, *, verify_up_to_bytes: float = VERIFY_UP_TO_BYTES) -> IndexHeader:
    """Read what an index points to, but no utterance; arguments and errors as of `read_index`."""
    root = open_hdf5(path, INDEX_FORMAT, verify_up_to_bytes=verify_up_to_bytes)
    try:
        with wrap_as_store_error(path, REMEDY):
            groups = sorted(_stream_groups(root.group("streams")).items())
            return IndexHeader(
                digest=root.text("digest"),
                fingerprint=root.text("fingerprint", default=""),
                packed=root.flag("packed"),
                shards=ShardTable.read(root.group("shards")),
                streams={name: _read_info(name, group) for name, group in groups},
            )
    finally:
        root.close()


def read_index(
    path: Path, *, verify_up_to_bytes: float = VERIFY_UP_TO_BYTES, on_bytes: BytesRead = lambda count: None
) -> IndexContent:
    """Read an index and check that it is consistent.

    Args:
        path: the index.
        verify_up_to_bytes: of a larger packed index, verify everything but the values, which are verified when they are
            read; other indexes are verified completely.
        on_bytes: called with the number of bytes read for that.

    Raises:
        StoreError: the index is missing, damaged, of another format or of an older version of foal.
        FutureError: it is of a newer version of foal.
    """
    root = open_hdf5(path, INDEX_FORMAT, verify_up_to_bytes=verify_up_to_bytes, on_bytes=on_bytes)
    try:
        with wrap_as_store_error(path, REMEDY):
            packed = root.flag("packed")
            values = packed_values(root) if packed else []
            verify_seal(path, INDEX_FORMAT, above_bytes=verify_up_to_bytes, values=values, on_bytes=on_bytes)
            columns = _read_utterances(root.group("utterances"))
            shards = ShardTable.read(root.group("shards"))
            streams = {
                name: _read_stream(name, group, len(columns["id"]), None if packed else shards)
                for name, group in sorted(_stream_groups(root.group("streams")).items())
            }
            return IndexContent(
                digest=root.text("digest"), packed=packed, columns=columns, shards=shards, streams=streams
            )
    finally:
        root.close()


def packed_values(root: ValidatedGroup) -> list[ByteRange]:
    """The parts of an index that are packed values, each of which has a checksum; raises as ValidatedGroup does."""
    extents = [extents_of(group)["values"] for group in _stream_groups(root.group("streams")).values()]
    # A small table is stored with its description.
    return [extent.byte_range for extent in extents if extent.offset >= 0]


def _stream_groups(streams: ValidatedGroup) -> dict[str, ValidatedGroup]:
    """The groups of streams such as `face` and `face/clip`: that of a modality may contain those of its streams."""
    groups = {}
    for modality in streams.names():
        group = streams.group(modality)
        names = group.names()
        if not STREAM_RESERVED.isdisjoint(names):
            groups[modality] = group
        for name in names:
            if name not in STREAM_RESERVED:
                groups[f"{modality}/{name}"] = group.group(name)
    if bad := [name for name in groups if not all(map(STREAM_NAME.fullmatch, name.split("/")))]:
        raise ValueError(f"expected streams with names like face/clip, got {bad[0][:80]!r}")
    return groups


def _read_utterances(table: ValidatedGroup) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    # An index without dialogs, and one of an earlier version, has no columns for them.
    names = [name for name in COLUMNS if name not in DIALOG or name in table]
    for name in names:
        if name in NUMBERS:
            numbers = table.numbers(name, np.float64)
            if np.isinf(numbers).any() or (name in ("start", "end", *INTEGERS) and (numbers < 0).any()):
                raise ValueError(f"{name}: infinite or negative numbers")
            kind = int if name in INTEGERS else float
            columns[name] = [None if number != number else kind(number) for number in numbers.tolist()]
        else:
            columns[name] = table.texts(name, repeated=name not in DISTINCT)
    if "shares" in table:
        columns["shares"] = [shares_from_text(text) for text in table.texts("shares")]
    if len(set(columns["id"])) != len(columns["id"]) or "" in columns["id"]:
        raise ValueError("an id is empty or occurs twice")
    for crop in set(columns["crop"]):
        parse_crop(crop)
    if len({len(column) for column in columns.values()}) > 1:
        raise ValueError("utterances: its columns have different lengths")
    return columns


def _read_info(name: str, group: ValidatedGroup) -> StreamInfo:
    info = StreamInfo(
        name=name,
        frame_shape=group.vector("frame_shape", 3),
        rate_hz=group.rate("rate_hz"),
        encoder=group.text("encoder"),
        revision=group.text("revision"),
        weights=group.text("weights"),
        random_weights=group.flag("random_weights"),
        config_hash=group.text("config_hash"),
        dtype=group.text("dtype"),
        config=group.mapping("config"),
    )
    check_frame_shape(info.frame_shape)
    if info.dtype not in ("float16", "float32"):
        raise ValueError(f"{name}: expected float16 or float32, got {info.dtype[:80]!r}")
    return info


def _read_stream(name: str, group: ValidatedGroup, count: int, shards: ShardTable | None) -> StreamIndex:
    """Read a stream of `count` utterances; `shards` is None if the values are packed."""
    quality = group.group("quality") if "quality" in group else None
    stream = StreamIndex(
        info=_read_info(name, group),
        **{column: group.numbers(column, np.int64) for column in LOCATION_COLUMNS},
        origins=group.numbers("origin", np.float64),
        notes=group.texts("note", repeated=True),
        checksums=group.texts("checksum"),
        quality={} if quality is None else {column: quality.numbers(column, np.float32) for column in quality.names()},
        inside=extents_of(group) if shards is None else None,
    )
    columns = [
        *(getattr(stream, column) for column in LOCATION_COLUMNS),
        stream.origins,
        stream.notes,
        stream.checksums,
    ]
    if any(len(column) != count for column in (*columns, *stream.quality.values())):
        raise ValueError(f"{name}: expected a row for every utterance")
    _check_locations(stream, shards)
    return stream


def _check_locations(stream: StreamIndex, shards: ShardTable | None) -> None:
    """Raise ValueError unless every utterance has its own frames, inside the table of its shard."""
    info, shard, offset, length = stream.info, stream.shard, stream.offset, stream.length
    if shards is None:
        assert stream.inside is not None
        values = stream.inside["values"]
        if (values.shape[1:], values.dtype.name) != (info.frame_shape, info.dtype) or (shard != -1).any():
            raise ValueError(f"{info.name}: its values differ from the declared shape or format")
        frames = np.full(len(shard), values.shape[0], np.int64)
    else:
        if len(shard) and not 0 <= shard.min() <= shard.max() < len(shards.paths):
            raise ValueError(f"{info.name}: shard numbers outside the table of shards")
        shards.check_used(np.unique(shard), int(np.prod(info.frame_shape)) * np.dtype(info.dtype).itemsize)
        frames = shards.frames[shard]
    if min(offset.min(initial=0), length.min(initial=0), stream.row.min(initial=0)) < 0:
        raise ValueError(f"{info.name}: negative offsets or lengths")
    if (length > frames).any() or (offset > frames - length).any():
        raise ValueError(f"{info.name}: frames beyond the end of their shard")
    if (stream.valid_frames < 0).any() or (stream.valid_frames > length).any():
        raise ValueError(f"{info.name}: more valid frames than frames")
    if not np.isfinite(stream.origins).all():
        raise ValueError(f"{info.name}: non-finite origins")
    nonempty = np.flatnonzero(length)
    order = nonempty[np.lexsort((offset[nonempty], shard[nonempty]))]
    ends = offset[order] + length[order]
    if ((shard[order][1:] == shard[order][:-1]) & (offset[order][1:] < ends[:-1])).any():
        raise ValueError(f"{info.name}: two utterances share frames")
