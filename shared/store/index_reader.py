"""What a feats.h5 says, read and checked: the manifest's rows, the streams of features, and where their values are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config.settings import STREAM_NAME, STREAM_RESERVED
from ..hdf5.checked_reader import Extent, ValidatedGroup
from ..hdf5.opening import FileFormat, open_hdf5, wrap_as_store_error
from ..hdf5.raw_rows import check_frame_shape, extents_of
from ..hdf5.seal import BytesRead
from ..utterance import COLUMNS, NUMBERS, Utterance, parse_crop
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
"""The seal of an index of at most this size is verified whenever it is opened; only packed ones are larger."""

LOCATION_COLUMNS = ("shard", "row", "offset", "length", "valid_frames")


@dataclass(frozen=True, kw_only=True)
class StreamInfo:
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
    config_hash: str
    dtype: str
    config: Mapping[str, Any]

    @property
    def width(self) -> int:
        """Numbers per frame (and layer)."""
        return self.frame_shape[-1]


@dataclass(frozen=True, kw_only=True)
class StreamIndex:
    """The features of a modality by utterance, (n,) each: where they lie, how much there is, and what they must be."""

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
    """Where in the index the values are, if it is packed."""


@dataclass(frozen=True, kw_only=True)
class IndexContent:
    """All of an index but for packed values."""

    digest: str
    packed: bool
    utterances: tuple[Utterance, ...]
    shards: ShardTable
    streams: Mapping[str, StreamIndex]


def read_index(
    path: Path, *, verify_up_to_bytes: float = VERIFY_UP_TO_BYTES, on_bytes: BytesRead = lambda count: None
) -> IndexContent:
    """Read an index and see that it fits together. Raises StoreError that names it, FutureError as `open_hdf5`."""
    root = open_hdf5(path, INDEX_FORMAT, verify_up_to_bytes=verify_up_to_bytes, on_bytes=on_bytes)
    try:
        with wrap_as_store_error(path, REMEDY):
            packed, utterances = root.flag("packed"), _read_utterances(root.group("utterances"))
            shards = ShardTable.read(root.group("shards"))
            streams = {
                name: _read_stream(name, group, len(utterances), None if packed else shards)
                for name, group in sorted(_stream_groups(root.group("streams")).items())
            }
            return IndexContent(
                digest=root.text("digest"), packed=packed, utterances=utterances, shards=shards, streams=streams
            )
    finally:
        root.close()


def _stream_groups(streams: ValidatedGroup) -> dict[str, ValidatedGroup]:
    """`face` and `face/clip` alike: a group of one modality may hold those of more streams, and nothing deeper."""
    found = {}
    for modality in streams.names():
        group = streams.group(modality)
        names = group.names()
        if not STREAM_RESERVED.isdisjoint(names):
            found[modality] = group
        for name in names:
            if name not in STREAM_RESERVED:
                found[f"{modality}/{name}"] = group.group(name)
    if bad := [name for name in found if not all(map(STREAM_NAME.fullmatch, name.split("/")))]:
        raise ValueError(f"expected streams with names like face/clip, got {bad[0][:80]!r}")
    return found


def _read_utterances(table: ValidatedGroup) -> tuple[Utterance, ...]:
    columns: dict[str, list[Any]] = {}
    for name in COLUMNS:
        if name in NUMBERS:
            numbers = table.numbers(name, np.float64)
            if np.isinf(numbers).any() or (name in ("start", "end") and (numbers < 0).any()):
                raise ValueError(f"{name}: infinite or negative numbers")
            columns[name] = [None if number != number else number for number in numbers.tolist()]
        else:
            columns[name] = table.texts(name)
    if len(set(columns["id"])) != len(columns["id"]) or "" in columns["id"]:
        raise ValueError("an id is empty, or stands in it twice")
    for crop in set(columns["crop"]):
        parse_crop(crop)
    rows = zip(*(columns[name] for name in COLUMNS), strict=True)
    return tuple(Utterance(**dict(zip(COLUMNS, row, strict=True))) for row in rows)


def _read_stream(name: str, group: ValidatedGroup, count: int, shards: ShardTable | None) -> StreamIndex:
    """One stream of `count` utterances, in `shards` or, if there are none, packed."""
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
    quality = group.group("quality") if "quality" in group else None
    stream = StreamIndex(
        info=info,
        **{column: group.numbers(column, np.int64) for column in LOCATION_COLUMNS},
        origins=group.numbers("origin", np.float64),
        notes=group.texts("note"),
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
        raise ValueError(f"{name} does not cover every utterance")
    _check_places(stream, shards)
    return stream


def _check_places(stream: StreamIndex, shards: ShardTable | None) -> None:
    """Raise ValueError unless every utterance has its own frames, where there are some."""
    info, shard, offset, length = stream.info, stream.shard, stream.offset, stream.length
    if shards is None:
        assert stream.inside is not None
        values = stream.inside["values"]
        if (values.shape[1:], values.dtype.name) != (info.frame_shape, info.dtype) or (shard != -1).any():
            raise ValueError(f"{info.name}: its values are not what it says")
        frames = np.full(len(shard), values.shape[0], np.int64)
    else:
        if len(shard) and not 0 <= shard.min() <= shard.max() < len(shards.paths):
            raise ValueError(f"{info.name}: shards that are not in the table")
        shards.check_used(np.unique(shard), int(np.prod(info.frame_shape)) * np.dtype(info.dtype).itemsize)
        frames = shards.frames[shard]
    if min(offset.min(initial=0), length.min(initial=0), stream.row.min(initial=0)) < 0:
        raise ValueError(f"{info.name}: negative offsets or lengths")
    if (length > frames).any() or (offset > frames - length).any():
        raise ValueError(f"{info.name}: frames behind the end of their shard")
    if (stream.valid_frames < 0).any() or (stream.valid_frames > length).any():
        raise ValueError(f"{info.name}: more valid frames than frames")
    if not np.isfinite(stream.origins).all():
        raise ValueError(f"{info.name}: an origin that is no time")
    some = np.flatnonzero(length)
    order = some[np.lexsort((offset[some], shard[some]))]
    ends = offset[order] + length[order]
    if ((shard[order][1:] == shard[order][:-1]) & (offset[order][1:] < ends[:-1])).any():
        raise ValueError(f"{info.name}: two utterances share frames")
