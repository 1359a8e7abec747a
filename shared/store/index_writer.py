"""Builds feats.h5: the utterances of a manifest, each with the location of its features in the shards."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from ..config.settings import INDEX_NAME, STREAM_RESERVED, modality_of
from ..errors import StoreError, UsageError
from ..files.atomic import replaced_atomically
from ..files.media_state import MediaFingerprints
from ..files.overwrite import check_overwrite
from ..hdf5.checked_reader import ValidatedGroup, write_attributes
from ..hdf5.group_check import HDF5_SIGNATURE
from ..hdf5.opening import FutureError, sniff
from ..hdf5.seal import open_regular, read_seal, write_seal, write_tables_line
from ..hdf5.writer import create_hdf5
from ..utterance import Utterance
from .catalog import SHORT_HASH_LENGTH, Catalog, config_hashes_on_disk, read_catalog
from .index_digest import index_digest, index_fingerprint
from .index_reader import FORMAT, VERSION, IndexHeader, packed_values, read_index_header
from .index_tables import LocatedStream, relative_paths, utterance_columns, write_tables
from .shard import FORMAT as SHARD_FORMAT


@dataclass(frozen=True, kw_only=True)
class IndexResult:
    """The outcome of `write_index`.

    `utterances` is the number of utterances in the index, `not_extracted` the ids of the others, `damaged` the damaged
    shards with the reason; `changed` is False if the existing file was already right.
    """

    path: Path
    utterances: int
    not_extracted: tuple[str, ...]
    damaged: Mapping[Path, str]
    changed: bool


def choose_config_hashes(features: Path, streams: Sequence[str], preferred: Mapping[str, str]) -> dict[str, str]:
    """Choose the shards of each stream: the preferred configuration, or the only one on disk.

    Args:
        features: the features folder.
        streams: streams such as `audio` and `face/clip`; those without shards are left out.
        preferred: configuration hashes (or their first digits) by stream.

    Returns:
        A shortened configuration hash per stream.

    Raises:
        StoreError: there are no shards at all.
        UsageError: there are shards of several configurations, and none of them is preferred.
    """
    chosen: dict[str, str] = {}
    for stream in streams:
        on_disk = config_hashes_on_disk(features, modality_of(stream))
        want = preferred.get(stream, "")
        matching = [short for short in on_disk if want.startswith(short) or (want and short.startswith(want))]
        if matching:
            chosen[stream] = matching[0]
        elif len(on_disk) == 1 and not want:
            chosen[stream] = on_disk[0]
        elif on_disk:
            raise UsageError(
                f"{features}: the {stream} shards have the config hashes {', '.join(on_disk)}"
                + (f", expected {want[:SHORT_HASH_LENGTH]}" if want else "")
                + f"; choose one with --config-hash {stream}=HASH"
            )
    if not chosen:
        raise StoreError(f"{features}: there are no shards in this folder; run `foal extract` first")
    return chosen


def check_index(path: Path, features: Path, *, force: bool = False) -> None:
    """Check, before any work is done, that an index can be written to `path`.

    Args:
        path: the index.
        features: the features folder.
        force: allow to replace a file that is not an index.

    Raises:
        UsageError: `path` is another file, or not in a folder above the features folder.
        FutureError: `path` is an index of a newer version of foal.
    """
    check_overwrite(path, kind="a feats.h5", is_ours=_is_index, force=force)
    try:
        read_index_header(path)
    except FutureError:
        raise
    except StoreError:
        pass  # missing or damaged
    relative_paths([features], path.parent)


def write_index(
    path: Path,
    utterances: Sequence[Utterance],
    features: Path,
    config_hashes: Mapping[str, str],
    *,
    catalogs: Mapping[str, Catalog] | None = None,
    media: MediaFingerprints | None = None,
    pack: bool = False,
    transcripts: bool = True,
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
        transcripts: copy the manifest's transcripts into the index.
        force: replace a file that is not an index.

    Returns:
        What was indexed, and what was not.

    Raises:
        StoreError: no utterance has features, or the shards changed meanwhile.
        FutureError: the file or a shard was written by a newer foal.
        UsageError: `path` is another file, or not above its shards.
    """
    check_overwrite(path, kind="a feats.h5", is_ours=_is_index, force=force)
    if bad := [name for name in config_hashes if name.partition("/")[2] in STREAM_RESERVED]:
        raise UsageError(f"{bad[0]}: a stream cannot have this name; choose another one")
    given = catalogs or {}
    by_stream = {
        stream: given[stream] if stream in given else read_catalog(features, modality_of(stream), config_hash)
        for stream, config_hash in config_hashes.items()
    }
    matched = {name: catalog.match(utterances, modality_of(name), media) for name, catalog in by_stream.items()}
    complete = np.all([rows >= 0 for rows in matched.values()], axis=0)
    kept = np.flatnonzero(complete).tolist()
    not_extracted = [utterances[row].id for row in np.flatnonzero(~complete).tolist()]
    damaged = {file: reason for catalog in by_stream.values() for file, reason in catalog.damaged.items()}
    if not kept:
        detail = "".join(f"\n{file}: {reason}" for file, reason in damaged.items())
        raise StoreError(
            f"{features}: none of the manifest's {len(utterances)} utterances has features with the hashes "
            f"{', '.join(f'{m}-{k[:SHORT_HASH_LENGTH]}' for m, k in config_hashes.items())}; "
            f"run `foal extract` first{detail}"
        )
    columns = utterance_columns([utterances[row] for row in kept], transcripts=transcripts)
    streams = {name: LocatedStream(catalog=by_stream[name], rows=rows[kept]) for name, rows in matched.items()}
    fingerprint = index_fingerprint(columns, streams)
    existing = _existing(path, by_stream, packed=pack)
    changed = existing is None or existing.fingerprint != fingerprint
    if changed:
        digest = index_digest(columns, streams)
        # An index of an earlier version has no fingerprint.
        changed = existing is None or existing.digest != digest
    if changed:
        with replaced_atomically(path) as temporary:
            with create_hdf5(temporary) as file:
                write_attributes(
                    file.attrs, format=FORMAT, version=VERSION, digest=digest, fingerprint=fingerprint, packed=pack
                )
                write_tables(file, path.parent, columns, streams, pack=pack)
            if pack:
                with h5py.File(temporary, "r") as file:
                    values = packed_values(ValidatedGroup.root(file.id, temporary.stat().st_size))
                write_tables_line(temporary, values)
            write_seal(temporary)
    return IndexResult(
        path=path, utterances=len(kept), not_extracted=tuple(not_extracted), damaged=damaged, changed=changed
    )


def _is_index(path: Path) -> bool:
    """Whether an existing file is an index, even a damaged one."""
    try:
        handle = open_regular(path)
        try:
            start = os.pread(handle, len(HDF5_SIGNATURE), 0)
            sealed = read_seal(handle) is not None
        finally:
            os.close(handle)
        identity = sniff(path)
    except (OSError, StoreError):
        return False
    if identity is not None and identity.format in (FORMAT, SHARD_FORMAT):
        return identity.format == FORMAT
    # A truncated index has lost its attributes, but still has its seal, or its first bytes and its name.
    truncated = identity is None and start == HDF5_SIGNATURE and path.name == INDEX_NAME
    return sealed or truncated or not start


def _existing(path: Path, catalogs: Mapping[str, Catalog], *, packed: bool) -> IndexHeader | None:
    """The header of the existing index; None unless it is intact, points to these shards, and is packed or not.

    Raises FutureError.
    """
    shards = {
        os.path.abspath(path): (shard.digest, shard.size)
        for catalog in catalogs.values()
        for path, shard in catalog.shards.items()
    }
    try:
        # An index that is not rewritten is verified, regardless of its size.
        index = read_index_header(path, verify_up_to_bytes=math.inf)
    except FutureError:
        raise
    except StoreError:
        return None
    recorded = zip(index.shards.paths, index.shards.digests, index.shards.sizes.tolist(), strict=True)
    same_shards = all(
        shards.get(os.path.abspath(path.parent / shard)) == (shard_digest, size)
        for shard, shard_digest, size in recorded
    )
    return index if index.packed == packed and same_shards else None
