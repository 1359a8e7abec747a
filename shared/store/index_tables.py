"""The tables of feats.h5: utterances, streams and shards, written to an open file."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError, UsageError
from ..files.confinement import Inside
from ..hdf5.checked_reader import as_json, write_attributes, write_strings
from ..soft_labels import shares_to_text
from ..text import quoted
from ..utterance import COLUMNS, DIALOG, NUMBERS, Utterance
from .catalog import Catalog, CatalogRows, ShardInfo
from .index_shards import SHARD_EXTENTS
from .shard import ShardReader


@dataclass(frozen=True, kw_only=True)
class LocatedStream:
    """The features of an index' utterances in one stream: a catalog, and the row of each utterance in it, (n,)."""

    catalog: Catalog
    rows: NDArray[np.int64]


def utterance_columns(utterances: Sequence[Utterance], *, transcripts: bool = True) -> dict[str, list[Any]]:
    """The columns of utterances and their `shares`; transcripts are empty without `transcripts`."""
    columns = {name: list(map(attrgetter(name), utterances)) for name in (*COLUMNS, "shares")}
    if not transcripts:
        columns["transcript"] = [""] * len(utterances)
    return columns


def write_tables(
    file: h5py.File,
    folder: Path,
    columns: Mapping[str, Sequence[Any]],
    streams: Mapping[str, LocatedStream],
    *,
    pack: bool,
) -> None:
    """Write all groups of an index.

    Args:
        file: the new index.
        folder: the folder that the index will be in; paths of shards are relative to it.
        columns: the columns of the utterances, in the order of the index, see `utterance_columns`.
        streams: where their features are.
        pack: copy the values into the index instead of pointing to the shards.
    """
    _write_utterances(file.create_group("utterances"), columns)
    shards: list[tuple[Path, ShardInfo]] = []
    for name, stream in streams.items():
        catalog, rows = stream.catalog, stream.catalog.rows.take(stream.rows)
        # In the order in which the utterances need them.
        numbers, first = np.unique(rows.shard, return_index=True)
        used = [catalog.paths[number] for number in numbers[np.argsort(first)].tolist()]
        infos = [catalog.shards[path] for path in used]
        # The group of audio/x, inside that of audio, may have been created before it.
        group = file.require_group(f"streams/{name}")
        _write_header(group, name, infos)
        if pack:
            _write_locations(group, rows, np.full(len(rows), -1), np.cumsum([0, *rows.length])[:-1])
            _copy_values(group, rows, catalog.paths, infos[0])
        else:
            place = np.zeros(len(catalog.paths), np.int64)
            place[numbers[np.argsort(first)]] = np.arange(len(shards), len(shards) + len(used))
            _write_locations(group, rows, place[rows.shard], rows.offset)
            shards += zip(used, infos, strict=True)
    _write_shards(file.create_group("shards"), folder, shards)


def _write_utterances(group: h5py.Group, columns: Mapping[str, Sequence[Any]]) -> None:
    texts: dict[str, Sequence[str]] = {}
    for name in COLUMNS:
        if name in DIALOG and all(value in ("", None) for value in columns[name]):
            continue
        if name in NUMBERS:
            group[name] = np.array([np.nan if value is None else value for value in columns[name]], np.float64)
        else:
            texts[name] = columns[name]
    if any(columns["shares"]):
        texts["shares"] = list(map(shares_to_text, columns["shares"]))
    write_strings(group, **texts)


def _write_header(group: h5py.Group, stream: str, shards: Sequence[ShardInfo]) -> None:
    """The attributes of a stream. Raises StoreError unless its shards were made in the same way."""
    if len({(shard.header.config_hash, shard.frame_shape, shard.dtype) for shard in shards}) > 1:
        raise StoreError(f"the {stream} shards are inconsistent: their config hashes, frame shapes or formats differ")
    header = shards[0].header
    write_attributes(
        group.attrs,
        frame_shape=np.array(shards[0].frame_shape, np.int64),
        rate_hz=header.rate_hz,
        encoder=header.encoder,
        revision=header.revision,
        weights=header.weights,
        random_weights=header.random_weights,
        config_hash=header.config_hash,
        dtype=shards[0].dtype,
        config=as_json("config", header.config),
    )


def _write_locations(group: h5py.Group, rows: CatalogRows, shard: NDArray[np.int64], offset: NDArray[np.int64]) -> None:
    """The columns of a stream; `shard` and `offset` are the places in the index, (n,) each."""
    columns = {
        "shard": shard,
        "row": rows.row,
        "offset": offset,
        "length": rows.length,
        "valid_frames": rows.valid_frames,
    }
    for name, column in columns.items():
        group[name] = column.astype(np.int64)
    group["origin"] = rows.origins
    for name, measures in rows.quality.items():
        if np.isfinite(measures).any():
            group[f"quality/{name}"] = measures
    write_strings(group, note=rows.notes.tolist(), checksum=rows.checksums.tolist())


def _copy_values(group: h5py.Group, rows: CatalogRows, paths: Sequence[Path], shard: ShardInfo) -> None:
    """Copy the values of a stream in the order of the index, one utterance in memory at a time."""
    frames = int(rows.length.sum())
    shape: Any = (frames, *shard.frame_shape)
    values = group.create_dataset("values", shape, shard.dtype)
    valid = group.create_dataset("valid", (frames,), bool)
    offset, reader = 0, None
    for row in range(len(rows)):
        location = rows.located(row, paths[int(rows.shard[row])])
        if reader is None or reader.path != location.shard:
            if reader is not None:
                reader.close()
            reader = ShardReader(location.shard)
        entry = reader.entry(location.row)
        if entry.checksum() != location.checksum:
            raise StoreError(
                f"{location.shard}: the values of {quoted(entry.id)} do not match their checksum; run `foal extract`"
            )
        values[offset : offset + location.length] = entry.values
        valid[offset : offset + location.length] = entry.valid
        offset += location.length
    if reader is not None:
        reader.close()


def _write_shards(group: h5py.Group, folder: Path, shards: Sequence[tuple[Path, ShardInfo]]) -> None:
    """The table of shards. Raises StoreError for one that has changed since it was read."""
    for path, shard in shards:
        _check_unchanged(path, shard.size)
    write_strings(
        group,
        path=relative_paths([path for path, _ in shards], folder),
        digest=[shard.digest for _, shard in shards],
    )
    group["size"] = np.array([shard.size for _, shard in shards], np.int64)
    extents = np.array([shard.extents for _, shard in shards], np.int64).reshape(-1, len(SHARD_EXTENTS))
    for name, column in zip(SHARD_EXTENTS, extents.T, strict=True):
        group[name] = column


def _check_unchanged(path: Path, size: int) -> None:
    try:
        unchanged = os.stat(path).st_size == size
    except OSError:
        unchanged = False
    if not unchanged:
        raise StoreError(f"{path}: changed while the index was written; run `foal index` again")


def relative_paths(paths: Sequence[Path], folder: Path) -> list[str]:
    """The paths relative to the folder of the index; index and shards can then be moved together.

    Raises UsageError for a path outside that folder.
    """
    inside, relative_to_folder = Inside(folder), []
    for path in paths:
        relative = Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix()
        if reason := inside.escape_reason(relative):
            raise UsageError(
                f"{path}: the index must be in a folder above its shards; got {folder.absolute()}, and a path from "
                f"there {reason} (or use --pack to copy the values into it)"
            )
        relative_to_folder.append(relative)
    return relative_to_folder
