"""Find files in a features folder that are not needed: shards of other configurations, superseded or damaged ones."""

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...shared.config.settings import modality_of
from ...shared.errors import StoreError
from ...shared.files.atomic import stale_temporaries
from ...shared.files.fingerprint import media_fingerprint
from ...shared.files.media_state import MediaFingerprints, MediaState
from ...shared.hdf5.opening import FileIdentity, FutureError, sniff
from ...shared.hdf5.seal import is_intact, open_regular, read_seal
from ...shared.store.catalog import (
    SHORT_HASH_LENGTH,
    FeatureLocation,
    config_hashes_on_disk,
    is_same_source,
    read_catalog,
    row_key,
    shard_files,
)
from ...shared.store.shard import FORMAT, VERSION, ShardReader, damage_in
from ...shared.utterance import TEXT, Utterance

OTHER = "another configuration"
SUPERSEDED = "superseded"
ABSENT = "not in the manifest"
DAMAGED = "damaged"
LEFT_OVER = "left over from a killed run"

CURRENT = "current"
CHANGED_ROW = "manifest row changed: "
"""Followed by the changed columns: file, start, end, crop, or transcript."""

NEWER = "superseded by a newer shard"
ACCEPTED_STATES = frozenset({CURRENT, MediaState.TIME_ONLY.value})
"""States of rows that are used. The others are ABSENT, CHANGED_ROW, NEWER and the other states of `MediaState`."""

SOURCE_FIELDS = ("file", "start", "end", "crop")
"""The items of `Utterance.source`."""

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
    features: Path, utterances: Sequence[Utterance], config_hashes: Mapping[str, str], media: MediaFingerprints
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
    """
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
                files, states = _examine_used(features, utterances, modality, config_hash, media)
                stale += files
                rows[f"{modality}-{config_hash}"] = states
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
    features: Path, utterances: Sequence[Utterance], modality: str, config_hash: str, media: MediaFingerprints
) -> tuple[list[StaleFile], Mapping[str, Sequence[str]]]:
    """Of a configuration in use: shards without a current row, damaged shards, and the ids of the rows by state."""
    # Taken before anything is read: `remove_files` compares them, and notices a file that was replaced meanwhile.
    stamps = {path: media_fingerprint(path) for path in shard_files(features, modality, config_hash)}
    catalog = read_catalog(features, modality, config_hash)
    by_place = {row_key(utterance.split, utterance.id): utterance for utterance in utterances}
    states: dict[Path, Counter[str]] = {path: Counter() for path in catalog.shards}
    ids: dict[str, list[str]] = {}
    for place, locations in catalog.located.items():
        utterance = by_place.get(place)
        current = None if utterance is None else catalog.find(utterance, modality, media)
        for location in locations:
            state = _row_state(location, utterance, current, modality, media, catalog.context)
            states[location.shard][state] += 1
            ids.setdefault(state, []).append(place[1])
    stale = []
    for path, counts in states.items():
        if ACCEPTED_STATES.isdisjoint(+counts) and path in stamps:
            reason = ABSENT if set(+counts) == {ABSENT} else SUPERSEDED
            rows = counts.total()
            stale.append(_stale_file(path, reason, stamps[path], rows=rows, modality=modality, config_hash=config_hash))
    for path in catalog.damaged:
        if path in stamps and is_deletable_corrupt_shard(path, modality, config_hash):
            stale.append(_stale_file(path, DAMAGED, stamps[path], rows=0, modality=modality, config_hash=config_hash))
    return stale, ids


def _row_state(
    location: FeatureLocation,
    utterance: Utterance | None,
    current: FeatureLocation | None,
    modality: str,
    media: MediaFingerprints,
    context: int,
) -> str:
    """Whether a shard's row is current, or why not."""
    if utterance is None:
        return ABSENT
    if current is not None and location is not current:
        return NEWER
    source = utterance.source(modality, context)
    if not is_same_source(location.source, source, media):
        return CHANGED_ROW + _changed_columns(location.source, source)
    state = media.state(utterance.media(modality), location.media, location.content)
    return CURRENT if state is MediaState.SAME else state.value


def _changed_columns(recorded: str, source: str) -> str:
    """The columns in which two sources differ, such as "start, end"."""
    with suppress(ValueError, TypeError, RecursionError):
        old, new = json.loads(recorded), json.loads(source)
        if new[0] == TEXT and len(new) == 2:
            return "transcript"
        if isinstance(old, list) and len(old) == len(new):
            pairs = zip(SOURCE_FIELDS, old, new, strict=True)
            return ", ".join(name for name, before, after in pairs if before != after)
    return "source"


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
