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
from ..hdf5.checked_reader import as_json, write_attributes, write_strings
from ..hdf5.group_check import HDF5_START
from ..hdf5.opening import FutureError, sniff
from ..hdf5.seal import bears_seal, open_regular, write_seal
from ..hdf5.writer import create_hdf5
from ..text import quoted
from ..utterance import COLUMNS, NUMBERS, Utterance
from .catalog import Catalog, FeatureLocation, MediaFingerprints, config_hashes_on_disk, read_catalog
from .feature_store import FeatureStore
from .index_reader import FORMAT, VERSION
from .index_shards import SHARD_EXTENTS, shard_rows
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


def check_index(path: Path, features: Path) -> None:
    """Raise UsageError unless an index can come to `path`: over an older one or nothing, above the shards' folder.

    Raises FutureError if the one that is there is of a newer foal.
    """
    _check_place(path)
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
    keys: Mapping[str, str],
    *,
    media: MediaFingerprints | None = None,
    pack: bool = False,
) -> IndexResult:
    """Write feats.h5 over the shards with the given key per modality; a file that would say the same is left alone.

    An utterance is in the index once every modality of `keys` has been extracted for it, were it to say that it is
    missing. Raises StoreError if that holds for none, FutureError if the file or a shard is of a newer foal.
    """
    _check_place(path)
    if bad := [name for name in keys if name.partition("/")[2] in STREAM_RESERVED]:
        raise UsageError(f"{bad[0]}: a stream cannot have this name; call it otherwise")
    catalogs = {name: read_catalog(features, modality_of(name), key) for name, key in keys.items()}
    rows: list[tuple[Utterance, dict[str, FeatureLocation]]] = []
    not_extracted: list[str] = []
    for utterance in utterances:
        found = {name: catalog.find(utterance, modality_of(name), media) for name, catalog in catalogs.items()}
        complete = {modality: located for modality, located in found.items() if located is not None}
        if len(complete) == len(found):
            rows.append((utterance, complete))
        else:
            not_extracted.append(utterance.id)
    damaged = {file: reason for catalog in catalogs.values() for file, reason in catalog.damaged.items()}
    if not rows:
        detail = "".join(f"\n{file}: {reason}" for file, reason in damaged.items())
        raise StoreError(
            f"{features}: none of the manifest's {len(utterances)} utterances has features with the keys "
            f"{', '.join(f'{m}-{k[:8]}' for m, k in keys.items())}; run `foal extract` first{detail}"
        )
    digest = _digest(rows, catalogs)
    changed = _stamp(path) != (digest, pack)
    if changed:
        with replaced_atomically(path) as temporary:
            with create_hdf5(temporary) as file:
                write_attributes(file.attrs, format=FORMAT, version=VERSION, digest=digest, packed=pack)
                _write_utterances(file.create_group("utterances"), [utterance for utterance, _ in rows])
                _write_modalities(file, path.parent, rows, catalogs, pack=pack)
            write_seal(temporary)
    return IndexResult(
        path=path, utterances=len(rows), not_extracted=tuple(not_extracted), damaged=damaged, changed=changed
    )


def _check_place(path: Path) -> None:
    if os.path.lexists(path) and not _ours(path):
        raise UsageError(f"{path}: expected a feats.h5 to replace, or nothing, got another file")


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


def _stamp(path: Path) -> tuple[str, bool] | None:
    """Content and kind of the index that is there and in order, else None. Raises FutureError."""
    try:
        # Of whatever size: what is found to be in order here is left alone.
        with FeatureStore(path, verify_up_to_bytes=math.inf) as store:
            if not store.packed_inside:
                for shard in range(len(store.shard_paths)):
                    store.open_shard(shard).close()
            return store.digest, store.packed_inside
    except FutureError:
        raise
    except StoreError:
        return None


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
    shards = file.create_group("shards")
    write_strings(shards, path=_relative(paths, folder), digest=digests)
    shards["size"] = np.array([path.stat().st_size for path in paths], np.int64)
    extents = [_place(path, digest) for path, digest in zip(paths, digests, strict=True)]
    for name, in_file in zip(SHARD_EXTENTS, np.array(extents, np.int64).reshape(-1, 3).T, strict=True):
        shards[name] = in_file


def _place(path: Path, digest: str) -> tuple[int, int, int]:
    """A shard's row of SHARD_PLACES."""
    rows = shard_rows(path, digest)
    if rows is None:
        raise StoreError(f"{path}: changed while the index was made; run `foal index` again")
    values, valid = rows.extents["values"], rows.extents["valid"]
    in_one_piece = values.offset >= 0 and valid.offset >= 0
    return (values.offset, valid.offset, values.shape[0]) if in_one_piece else (-1, -1, values.shape[0])


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
