"""The tables of feats.h5: utterances, streams and shards, written to an open file."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import StoreError, UsageError
from ..files.confinement import Inside
from ..hdf5.checked_reader import as_json, write_attributes, write_strings
from ..soft_labels import shares_to_text
from ..text import quoted
from ..utterance import COLUMNS, DIALOG, NUMBERS, Utterance
from .catalog import Catalog, FeatureLocation, ShardInfo
from .index_shards import SHARD_EXTENTS
from .shard import ShardReader

Row = tuple[Utterance, dict[str, FeatureLocation]]
"""An utterance, and where its features are, by stream."""


def write_tables(
    file: h5py.File, folder: Path, rows: Sequence[Row], catalogs: Mapping[str, Catalog], *, pack: bool
) -> None:
    """Write all groups of an index.

    Args:
        file: the new index.
        folder: the folder that the index will be in; paths of shards are relative to it.
        rows: the utterances, in the order of the index.
        catalogs: the shards by stream.
        pack: copy the values into the index instead of pointing to the shards.
    """
    _write_utterances(file.create_group("utterances"), [utterance for utterance, _ in rows])
    shards: list[tuple[Path, ShardInfo]] = []
    for stream, catalog in catalogs.items():
        locations = [location[stream] for _, location in rows]
        used = list(dict.fromkeys(location.shard for location in locations))
        # The group of audio/x, inside that of audio, may have been created before it.
        group = file.require_group(f"streams/{stream}")
        _write_header(group, stream, [catalog.shards[path] for path in used])
        _write_locations(group, locations, None if pack else {path: len(shards) + i for i, path in enumerate(used)})
        if pack:
            _copy_values(group, locations, catalog.shards[used[0]])
        else:
            shards += [(path, catalog.shards[path]) for path in used]
    _write_shards(file.create_group("shards"), folder, shards)


def _write_utterances(group: h5py.Group, utterances: Sequence[Utterance]) -> None:
    columns = {name: [getattr(utterance, name) for utterance in utterances] for name in COLUMNS}
    for name in DIALOG:
        if all(value in ("", None) for value in columns[name]):
            del columns[name]
    if any(utterance.shares for utterance in utterances):
        columns["shares"] = [shares_to_text(utterance.shares) for utterance in utterances]
    for name in NUMBERS:
        if name in columns:
            group[name] = np.array([np.nan if value is None else value for value in columns.pop(name)], np.float64)
    write_strings(group, **columns)


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


def _write_locations(
    group: h5py.Group, locations: Sequence[FeatureLocation], numbers: Mapping[Path, int] | None
) -> None:
    """The columns of a stream; `numbers` is the shards' rows in the table of shards, None if the values are packed."""
    lengths = [location.length for location in locations]
    if numbers is None:
        shard_column = [-1] * len(locations)
        offsets = np.cumsum([0, *lengths])[:-1].tolist()
    else:
        shard_column = [numbers[location.shard] for location in locations]
        offsets = [location.offset for location in locations]
    columns: dict[str, list[int]] = {
        "shard": shard_column,
        "row": [location.row for location in locations],
        "offset": offsets,
        "length": lengths,
        "valid_frames": [location.valid_frames for location in locations],
    }
    for name, column in columns.items():
        group[name] = np.array(column, np.int64)
    group["origin"] = np.array([location.origin for location in locations], np.float64)
    for name in sorted({name for location in locations for name in location.quality}):
        measures = [location.quality.get(name, np.nan) for location in locations]
        group[f"quality/{name}"] = np.array(measures, np.float32)
    write_strings(
        group,
        note=[location.note for location in locations],
        checksum=[location.checksum for location in locations],
    )


def _copy_values(group: h5py.Group, locations: Sequence[FeatureLocation], shard: ShardInfo) -> None:
    """Copy the values of a stream in the order of the index, one utterance in memory at a time."""
    frames = sum(location.length for location in locations)
    shape: Any = (frames, *shard.frame_shape)
    values = group.create_dataset("values", shape, shard.dtype)
    valid = group.create_dataset("valid", (frames,), bool)
    offset, reader = 0, None
    for location in locations:
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
