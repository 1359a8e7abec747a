"""Joins a manifest and the shards of a features folder into feats.h5."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..config.settings import INDEX_NAME, STREAM_RESERVED, modality_of
from ..errors import StoreError, UsageError
from ..files.atomic import replaced_atomically
from ..files.confinement import Inside
from ..files.overwrite import check_overwrite
from ..hdf5.checked_reader import as_json, write_attributes, write_strings
from ..hdf5.group_check import HDF5_START
from ..hdf5.opening import FutureError, sniff
from ..hdf5.seal import bears_seal, open_regular, write_seal
from ..hdf5.writer import create_hdf5
from ..text import quoted
from ..utterance import COLUMNS, NUMBERS, Utterance
from .catalog import SHORT_HASH_LENGTH, Catalog, FeatureLocation, MediaFingerprints, config_hashes_on_disk, read_catalog
from .feature_store import FeatureStore
from .index_reader import FORMAT, VERSION
from .index_shards import SHARD_EXTENTS
from .shard import FORMAT as SHARD_FORMAT
from .shard import ShardHeader, ShardReader


@dataclass(frozen=True, kw_only=True)
class IndexResult:
    """What an index holds: how many of the manifest's utterances, what is missing, what was damaged, if it changed."""

    path: Path
    utterances: int
    not_extracted: tuple[str, ...]
    damaged: Mapping[Path, str]
    changed: bool


def choose_config_hashes(features: Path, modalities: Sequence[str], preferred: Mapping[str, str]) -> dict[str, str]:
    """For each modality on disk the one key its shards have, or the preferred of several.

    Raises StoreError if there are no shards at all, UsageError if there are several and none is preferred.
    """
    chosen: dict[str, str] = {}
    for modality in modalities:
        on_disk = config_hashes_on_disk(features, modality_of(modality))
        want = preferred.get(modality, "")
        matching = [key for key in on_disk if want.startswith(key) or (want and key.startswith(want))]
        if matching:
            chosen[modality] = matching[0]
        elif len(on_disk) == 1 and not want:
            chosen[modality] = on_disk[0]
        elif on_disk:
            raise UsageError(
                f"{features}: the {modality} shards have the keys {', '.join(on_disk)}"
                + (f", none is {want[:8]}" if want else "")
                + f"; choose one with --config-hash {modality}=KEY"
            )
    if not chosen:
        raise StoreError(f"{features}: there are no shards in this folder; run `foal extract` first")
    return chosen


def check_index(path: Path, features: Path, *, force: bool = False) -> None:
    """Raise UsageError unless an index can come to `path`: over an older one or nothing, above the shards' folder.

    Raises FutureError if the one that is there is of a newer foal.
    """
    _check_place(path, force=force)
    try:
        FeatureStore(path).close()
    except FutureError:
        raise
    except StoreError:
        pass  # missing or damaged
    _relative([features], path.parent)


def write_index(
    path: Path,
    utterances: Sequence[Utterance],
    features: Path,
    config_hashes: Mapping[str, str],
    *,
    catalogs: Mapping[str, Catalog] | None = None,
    media: MediaFingerprints | None = None,
    pack: bool = False,
    force: bool = False,
) -> IndexResult:
    """Write feats.h5 over the shards of a features folder; leave the file alone if it would not change.

    The index holds the utterances for which every stream has been extracted (a missing modality counts as extracted).

    Args:
        path: the index to write, in a folder above its shards.
        utterances: the manifest's rows, in the order of the index.
        features: the features folder.
        config_hashes: for each stream, the hash (or its first digits) of the shards to use.
        catalogs: catalogs of all splits that were read already, by stream; the others are read here.
        media: if given, features of media that changed since count as not extracted.
        pack: copy the values into the index.
        force: replace a file at `path` that is not an index.

    Returns:
        What was indexed, and what was not.

    Raises:
        StoreError: no utterance has features, or the shards changed meanwhile.
        FutureError: the file or a shard was written by a newer foal.
        UsageError: `path` is another file, or not above its shards.
    """
    _check_place(path, force=force)
    if bad := [name for name in config_hashes if name.partition("/")[2] in STREAM_RESERVED]:
        raise UsageError(f"{bad[0]}: a stream cannot have this name; choose another one")
    given = catalogs or {}
    by_stream = {
        stream: given[stream] if stream in given else read_catalog(features, modality_of(stream), config_hash)
        for stream, config_hash in config_hashes.items()
    }
    rows: list[tuple[Utterance, dict[str, FeatureLocation]]] = []
    not_extracted: list[str] = []
    for utterance in utterances:
        locations = {name: catalog.find(utterance, modality_of(name), media) for name, catalog in by_stream.items()}
        complete = {name: location for name, location in locations.items() if location is not None}
        if len(complete) == len(locations):
            rows.append((utterance, complete))
        else:
            not_extracted.append(utterance.id)
    damaged = {file: reason for catalog in by_stream.values() for file, reason in catalog.damaged.items()}
    if not rows:
        detail = "".join(f"\n{file}: {reason}" for file, reason in damaged.items())
        raise StoreError(
            f"{features}: none of the manifest's {len(utterances)} utterances has features with the hashes "
            f"{', '.join(f'{m}-{k[:SHORT_HASH_LENGTH]}' for m, k in config_hashes.items())}; "
            f"run `foal extract` first{detail}"
        )
    digest = _digest(rows, by_stream)
    changed = not _is_current(path, digest, by_stream, packed=pack)
    if changed:
        with replaced_atomically(path) as temporary:
            with create_hdf5(temporary) as file:
                write_attributes(file.attrs, format=FORMAT, version=VERSION, digest=digest, packed=pack)
                _write_utterances(file.create_group("utterances"), [utterance for utterance, _ in rows])
                _write_modalities(file, path.parent, rows, by_stream, pack=pack)
            write_seal(temporary)
    return IndexResult(
        path=path, utterances=len(rows), not_extracted=tuple(not_extracted), damaged=damaged, changed=changed
    )


def _check_place(path: Path, *, force: bool) -> None:
    check_overwrite(path, kind="a feats.h5", is_ours=_ours, force=force)


def _ours(path: Path) -> bool:
    """Whether a file says to be an index, were it damaged: a slip in `-o` must not cost anybody's file."""
    try:
        handle = open_regular(path)
        try:
            start, sealed = os.pread(handle, len(HDF5_START), 0), bears_seal(handle)
        finally:
            os.close(handle)
        claim = sniff(path)
    except (OSError, StoreError):
        return False
    if claim is not None and claim.format in (FORMAT, SHARD_FORMAT):
        return claim.format == FORMAT
    # A torn index has lost its attributes, but not its last bytes or its first ones and its name; an empty file is
    # nobody's.
    torn = claim is None and start == HDF5_START and path.name == INDEX_NAME
    return sealed or not start or torn


def _is_current(path: Path, digest: str, catalogs: Mapping[str, Catalog], *, packed: bool) -> bool:
    """Whether the existing index has this content and points to these shards. Raises FutureError."""
    shards = {
        os.path.abspath(shard): (catalog.digests[shard], catalog.sizes[shard])
        for catalog in catalogs.values()
        for shard in catalog.digests
    }
    try:
        # Whatever its size, an index that is left alone is verified.
        with FeatureStore(path, verify_up_to_bytes=math.inf) as store:
            same_shards = all(
                shards.get(os.path.abspath(shard)) == identity
                for shard, identity in zip(store.shard_paths, store.shard_identities, strict=True)
            )
            return store.digest == digest and store.packed_inside == packed and same_shards
    except FutureError:
        raise
    except StoreError:
        return False


def _digest(rows: list[tuple[Utterance, dict[str, FeatureLocation]]], catalogs: Mapping[str, Catalog]) -> str:
    """One hash of all that training sees: the manifest's rows and each utterance's features, wherever they lie."""
    digest = blake2b(digest_size=16)
    for utterance, found in rows:
        columns = [getattr(utterance, column) for column in COLUMNS]
        features = [
            (m, catalogs[m].headers[at.shard].config_hash, at.checksum, at.length, at.note)
            for m, at in sorted(found.items())
        ]
        digest.update(json.dumps([VERSION, columns, features]).encode())
    return digest.hexdigest()


def _write_utterances(group: h5py.Group, utterances: list[Utterance]) -> None:
    columns = {name: [getattr(utterance, name) for utterance in utterances] for name in COLUMNS}
    for name in NUMBERS:
        group[name] = np.array([np.nan if value is None else value for value in columns.pop(name)], np.float64)
    write_strings(group, **columns)


def _write_modalities(
    file: h5py.File,
    folder: Path,
    rows: list[tuple[Utterance, dict[str, FeatureLocation]]],
    catalogs: Mapping[str, Catalog],
    *,
    pack: bool,
) -> None:
    paths: list[Path] = []
    digests: list[str] = []
    sizes: list[int] = []
    extents: list[tuple[int, int, int]] = []
    for name, catalog in catalogs.items():
        found = [at[name] for _, at in rows]
        used = list(dict.fromkeys(at.shard for at in found))
        header = _common_header(name, used, catalog)
        group = file.create_group(f"streams/{name}")
        write_attributes(
            group.attrs,
            frame_shape=np.array(catalog.frame_shapes[used[0]], np.int64),
            rate_hz=header.rate_hz,
            encoder=header.encoder,
            revision=header.revision,
            weights=header.weights,
            random_weights=header.random_weights,
            config_hash=header.config_hash,
            dtype=catalog.dtypes[used[0]],
            config=as_json("config", header.config),
        )
        number = {path: len(paths) + i for i, path in enumerate(used)}
        columns: dict[str, list[int]] = {
            "shard": [-1 if pack else number[at.shard] for at in found],
            "row": [at.row for at in found],
            "offset": list(np.cumsum([0, *(at.length for at in found)])[:-1]) if pack else [at.offset for at in found],
            "length": [at.length for at in found],
            "valid_frames": [at.valid_frames for at in found],
        }
        for column, numbers in columns.items():
            group[column] = np.array(numbers, np.int64)
        group["origin"] = np.array([at.origin for at in found], np.float64)
        for column in sorted({name for at in found for name in at.quality}):
            group[f"quality/{column}"] = np.array([at.quality.get(column, np.nan) for at in found], np.float32)
        write_strings(group, note=[at.note for at in found], checksum=[at.checksum for at in found])
        if pack:
            _copy_values(group, found, catalog)
        else:
            paths += used
            digests += [catalog.digests[path] for path in used]
            sizes += [catalog.sizes[path] for path in used]
            extents += [catalog.extents[path] for path in used]
    shards = file.create_group("shards")
    write_strings(shards, path=_relative(paths, folder), digest=digests)
    for path, size in zip(paths, sizes, strict=True):
        _check_unchanged(path, size)
    shards["size"] = np.array(sizes, np.int64)
    for name, in_file in zip(SHARD_EXTENTS, np.array(extents, np.int64).reshape(-1, 3).T, strict=True):
        shards[name] = in_file


def _check_unchanged(path: Path, size: int) -> None:
    try:
        unchanged = os.stat(path).st_size == size
    except OSError:
        unchanged = False
    if not unchanged:
        raise StoreError(f"{path}: changed while the index was written; run `foal index` again")


def _common_header(name: str, used: list[Path], catalog: Catalog) -> ShardHeader:
    kinds = {(catalog.headers[path].config_hash, catalog.frame_shapes[path], catalog.dtypes[path]) for path in used}
    if len(kinds) > 1:
        raise StoreError(f"the {name} shards do not belong together: their frames have different shapes or keys")
    return catalog.headers[used[0]]


def _copy_values(group: h5py.Group, found: list[FeatureLocation], catalog: Catalog) -> None:
    """Copy the values of one modality into the index, in the manifest's order, one utterance in memory at a time."""
    frames = sum(at.length for at in found)
    shape: Any = (frames, *catalog.frame_shapes[found[0].shard])
    values = group.create_dataset("values", shape, catalog.dtypes[found[0].shard])
    valid = group.create_dataset("valid", (frames,), bool)
    offset, reader = 0, None
    for at in found:
        if reader is None or reader.path != at.shard:
            if reader is not None:
                reader.close()
            reader = ShardReader(at.shard)
        entry = reader.entry(at.row)
        if entry.checksum() != at.checksum:
            raise StoreError(
                f"{at.shard}: the values of {quoted(entry.id)} do not match their checksum; run `foal extract`"
            )
        values[offset : offset + at.length] = entry.values
        valid[offset : offset + at.length] = entry.valid
        offset += at.length
    if reader is not None:
        reader.close()


def _relative(paths: Sequence[Path], folder: Path) -> list[str]:
    """The shards' paths as seen from the index; they must lie below the index' folder, so that both move together."""
    inside, found = Inside(folder), []
    for path in paths:
        relative = Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix()
        if way := inside.escape_reason(relative):
            raise UsageError(
                f"{path}: the index must lie in a folder above its shards; got {folder.absolute()}, and a path from "
                f"there {way} (or use --pack to copy the values into it)"
            )
        found.append(relative)
    return found
