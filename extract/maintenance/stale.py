"""Find files in a features folder that are not needed: shards of other configurations, superseded or damaged ones."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...shared.config.settings import modality_of
from ...shared.errors import StoreError
from ...shared.files.atomic import stale_temporaries
from ...shared.files.fingerprint import media_fingerprint
from ...shared.files.media_state import MediaFingerprints
from ...shared.hdf5.opening import FileIdentity, FutureError, sniff
from ...shared.hdf5.seal import is_intact, open_regular, read_seal
from ...shared.store.catalog import (
    SHORT_HASH_LENGTH,
    Catalog,
    config_hashes_on_disk,
    read_catalog,
    shard_files,
)
from ...shared.store.shard import FORMAT, VERSION, ShardReader, damage_in
from ...shared.utterance import Utterance
from .row_states import ABSENT, ACCEPTED_STATES, row_states

OTHER = "another configuration"
SUPERSEDED = "superseded"
DAMAGED = "damaged"
LEFT_OVER = "left over from a killed run"

SHARD_NAME = re.compile(r"[0-9a-f]{16}\.h5")


@dataclass(frozen=True, kw_only=True)
class StaleFile:
    """A file that is not needed any more.

    `reason` is one of the constants above; `size` is in bytes; `rows` are the utterances in it (0: unknown); `stamp` is
    the file's size and time of change when it was read. `config_hash` is the short hash of its folder ("" for temporary
    files). Shards of another configuration may be `imported`, not computed by foal.
    """

    path: Path
    reason: str
    size: int
    rows: int
    stamp: str
    modality: str = ""
    config_hash: str = ""
    imported: bool = False


@dataclass(frozen=True, kw_only=True)
class StaleReport:
    """The stale files, and for each configuration in use (`audio-1a2b3c4d`) the ids of the rows by state.

    Rows that are not current may be in shards that are not stale.
    """

    stale: tuple[StaleFile, ...]
    ids: Mapping[str, Mapping[str, Sequence[str]]]

    @property
    def rows(self) -> dict[str, dict[str, int]]:
        """The number of rows by configuration and state."""
        return {folder: {state: len(ids) for state, ids in states.items()} for folder, states in self.ids.items()}


def find_stale(
    features: Path,
    utterances: Sequence[Utterance],
    config_hashes: Mapping[str, str],
    media: MediaFingerprints,
    *,
    catalogs: Mapping[str, Catalog] | None = None,
) -> StaleReport:
    """Find the stale files of a features folder.

    Files that are not shards, that are in another folder than their own, or that cannot be opened for lack of
    permission are never stale.

    Args:
        features: the features folder.
        utterances: the rows of the manifest.
        config_hashes: the hash in use of each stream; "": unknown, and equal to no shard's. Only modalities of these
            streams are examined.
        media: the current fingerprints of the media.
        catalogs: catalogs of all splits that were read already, by stream; the others are read here.
    """
    known = {
        f"{modality_of(stream)}-{config_hashes[stream][:SHORT_HASH_LENGTH]}": catalog
        for stream, catalog in (catalogs or {}).items()
    }
    stale: list[StaleFile] = []
    rows: dict[str, Mapping[str, Sequence[str]]] = {}
    for modality in dict.fromkeys(map(modality_of, config_hashes)):
        used = {
            config_hash[:SHORT_HASH_LENGTH]
            for stream, config_hash in config_hashes.items()
            if config_hash and modality_of(stream) == modality
        }
        for config_hash in config_hashes_on_disk(features, modality):
            if config_hash in used:
                folder = f"{modality}-{config_hash}"
                catalog = known.get(folder)
                files, states = _examine_used(features, utterances, modality, config_hash, media, catalog)
                stale += files
                rows[folder] = states
            else:
                stale += _examine_unused(features, modality, config_hash)
    leftovers = [_stale_file(path, LEFT_OVER, media_fingerprint(path), rows=0) for path in stale_temporaries(features)]
    return StaleReport(stale=(*stale, *leftovers), ids=rows)


def is_deletable_corrupt_shard(path: Path, modality: str, config_hash: str) -> bool:
    """Whether a file is a shard of this modality and config hash that is damaged and cannot be read.

    Such a file may be deleted once its utterances have been extracted again. False for an intact shard, a file that
    could only not be read (permission, lock, network), a symbolic link, a shard of a newer version, and in case of
    doubt.
    """
    try:
        if path.is_symlink():
            return False
        with suppress(FutureError), ShardReader(path, whole=True) as shard:
            # If it is readable now, it belongs to another folder or was temporarily unreadable.
            own = _belongs(shard.header.modality, shard.header.config_hash, modality, config_hash)
            return bool(damage_in(shard)) and own
    except OSError:
        return False
    except StoreError:
        return _is_unreadable_shard(path, modality, config_hash)
    return False


def _examine_unused(features: Path, modality: str, config_hash: str) -> list[StaleFile]:
    """The shards of a configuration that no stream uses."""
    files = []
    for path in shard_files(features, modality, config_hash):
        stamp = media_fingerprint(path)
        identity = _identify(path)
        # A shard in a folder of another name is a copy that a user made.
        if identity is not None and _belongs(identity.modality, identity.config_hash, modality, config_hash):
            files.append(
                _stale_file(
                    path,
                    OTHER,
                    stamp,
                    rows=identity.utterances,
                    modality=modality,
                    config_hash=config_hash,
                    imported=_is_imported(identity),
                )
            )
    return files


def _examine_used(
    features: Path,
    utterances: Sequence[Utterance],
    modality: str,
    config_hash: str,
    media: MediaFingerprints,
    catalog: Catalog | None,
) -> tuple[list[StaleFile], Mapping[str, Sequence[str]]]:
    """Of a configuration in use: shards without a current row, damaged shards, and the ids of the rows by state."""
    # Taken before anything is read: `remove_files` compares them, and notices a file that was replaced meanwhile.
    stamps = {path: media_fingerprint(path) for path in shard_files(features, modality, config_hash)}
    if catalog is None:
        catalog = read_catalog(features, modality, config_hash)
    states = row_states(catalog, utterances, modality, media)
    by_state: dict[str, NDArray[np.int64]] = {}
    ids: dict[str, list[str]] = {}
    for state in dict.fromkeys(states.tolist()):
        chosen = states == state
        by_state[state] = np.bincount(catalog.rows.shard[chosen], minlength=len(catalog.paths))
        ids[state] = catalog.rows.ids[chosen].tolist()
    stale = []
    for number, path in enumerate(catalog.paths):
        counts = {state: int(counts[number]) for state, counts in by_state.items() if counts[number]}
        if path in catalog.shards and path in stamps and ACCEPTED_STATES.isdisjoint(counts):
            reason = ABSENT if set(counts) == {ABSENT} else SUPERSEDED
            rows = sum(counts.values())
            stale.append(_stale_file(path, reason, stamps[path], rows=rows, modality=modality, config_hash=config_hash))
    for path in catalog.damaged:
        if path in stamps and is_deletable_corrupt_shard(path, modality, config_hash):
            stale.append(_stale_file(path, DAMAGED, stamps[path], rows=0, modality=modality, config_hash=config_hash))
    return stale, ids


def _stale_file(
    path: Path, reason: str, stamp: str, *, rows: int, modality: str = "", config_hash: str = "", imported: bool = False
) -> StaleFile:
    return StaleFile(
        path=path,
        reason=reason,
        # A stamp begins with the size.
        size=int(stamp.partition(":")[0] or 0),
        rows=rows,
        stamp=stamp,
        modality=modality,
        config_hash=config_hash,
        imported=imported,
    )


def _identify(path: Path) -> FileIdentity | None:
    """The identity of a shard of this or an older version of foal; None for any other file."""
    with suppress(OSError, StoreError):
        identity = sniff(path)
        if identity is not None and identity.format == FORMAT:
            return identity if identity.version is not None and identity.version <= VERSION else None
    return None


def _is_imported(identity: FileIdentity) -> bool:
    with suppress(ValueError, RecursionError):
        config = json.loads(identity.config or "")
        return isinstance(config, dict) and config.get("provenance") == "imported"
    return False


def _is_unreadable_shard(path: Path, modality: str, config_hash: str) -> bool:
    """Whether a file that cannot be read as a shard is a shard of this modality and hash nevertheless."""
    try:
        handle = open_regular(path)
        try:
            seal = read_seal(handle)
            if seal is not None and not is_intact(handle, seal):
                return True
        finally:
            os.close(handle)
        identity = sniff(path)
    except (OSError, StoreError):
        return False
    if identity is None:
        # Any truncated HDF5 file looks like this; only the name identifies a shard.
        return seal is None and SHARD_NAME.fullmatch(path.name) is not None
    if identity.format != FORMAT or (seal is None and (identity.version or 0) > VERSION):
        return False
    return _belongs(identity.modality, identity.config_hash, modality, config_hash)


def _belongs(modality: str | None, config_hash: str | None, folder_modality: str, folder_hash: str) -> bool:
    """Whether a shard with this modality and hash belongs into a folder."""
    short_hash = (config_hash or "")[:SHORT_HASH_LENGTH]
    return modality == folder_modality and short_hash == folder_hash[:SHORT_HASH_LENGTH]
