"""What in a features folder nothing needs any more: shards of other configurations, superseded, damaged, left over."""

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
from ...shared.hdf5.opening import FileIdentity, FutureError, sniff
from ...shared.hdf5.seal import is_intact, open_regular, read_seal
from ...shared.store.catalog import (
    SHORT_HASH_LENGTH,
    FeatureLocation,
    MediaFingerprints,
    config_hashes_on_disk,
    read_catalog,
    shard_files,
)
from ...shared.store.shard import FORMAT, VERSION, ShardReader, damage_in
from ...shared.utterance import Utterance, split_folder

OTHER = "another configuration"
SUPERSEDED = "superseded"
ABSENT = "not in the manifest"
DAMAGED = "damaged"
LEFT_OVER = "left over from a killed run"

CURRENT = "current"
CHANGED_MEDIA, CHANGED_ROW, NEWER = "of changed media", "of a changed row", "in a newer shard"

OUR_NAME = re.compile(r"[0-9a-f]{16}\.h5")


@dataclass(frozen=True, kw_only=True)
class StaleFile:
    """A file that nothing needs any more: why, its size in bytes, the utterances in it (0 where that is not known).

    `key` is the eight characters of its folder, empty for temporary files; `stamp` is the file's size and time of
    change as it was judged; shards of another configuration may be `imported`, not computed by foal.
    """

    path: Path
    reason: str
    size: int
    rows: int
    stamp: str
    modality: str = ""
    key: str = ""
    imported: bool = False


@dataclass(frozen=True, kw_only=True)
class StaleReport:
    """The stale files, and the rows of each key in use, by `audio-1a2b3c4d`: how many are current or why they are not.

    Those not current may stand in shards that are not stale.
    """

    stale: tuple[StaleFile, ...]
    rows: Mapping[str, Mapping[str, int]]


def find_stale(
    features: Path, utterances: Sequence[Utterance], keys: Mapping[str, str], media: MediaFingerprints
) -> StaleReport:
    """What is stale in a features folder, given the manifest and the key in use of each stream.

    Only modalities of these streams are looked at. An empty key is one that is not known: no shard has it. Files that
    are no shards, that are another's, or that cannot be opened for want of a permission are never stale.
    """
    stale: list[StaleFile] = []
    rows: dict[str, Mapping[str, int]] = {}
    for modality in dict.fromkeys(map(modality_of, keys)):
        used = {key[:SHORT_HASH_LENGTH] for stream, key in keys.items() if key and modality_of(stream) == modality}
        for key in config_hashes_on_disk(features, modality):
            if key in used:
                of_key, rows[f"{modality}-{key}"] = _classify_rows(features, utterances, modality, key, media)
                stale += of_key
            else:
                stale += _of_another_key(features, modality, key)
    return StaleReport(stale=(*stale, *_left_over(features)), rows=rows)


def _of_another_key(features: Path, modality: str, key: str) -> list[StaleFile]:
    found = []
    for path in shard_files(features, modality, key):
        stamp, said = media_fingerprint(path), _read_claim(path)
        # Anywhere else it is somebody's copy.
        if said is not None and _belongs(said.modality, said.config_hash, modality, key):
            rows, imported = said.utterances, _imported(said)
            found.append(_stale(path, OTHER, stamp, rows=rows, modality=modality, key=key, imported=imported))
    return found


def _classify_rows(
    features: Path, utterances: Sequence[Utterance], modality: str, key: str, media: MediaFingerprints
) -> tuple[list[StaleFile], Mapping[str, int]]:
    """Of a key in use the shards that have not one current row or are damaged, and all its rows by state."""
    # Before anything is read: who removes the file compares, and finds that it was written anew meanwhile.
    stamps = {path: media_fingerprint(path) for path in shard_files(features, modality, key)}
    catalog = read_catalog(features, modality, key)
    row_of = {(split_folder(utterance.split), utterance.id): utterance for utterance in utterances}
    states: dict[Path, Counter[str]] = {path: Counter() for path in catalog.shards}
    for place, located in catalog.located.items():
        utterance = row_of.get(place)
        current = None if utterance is None else catalog.find(utterance, modality, media)
        for at in located:
            states[at.shard][_state(at, utterance, current, modality, media)] += 1
    stale = []
    for path, counts in states.items():
        if not counts[CURRENT] and path in stamps:
            reason = ABSENT if set(+counts) == {ABSENT} else SUPERSEDED
            stale.append(_stale(path, reason, stamps[path], rows=counts.total(), modality=modality, key=key))
    for path in catalog.damaged:
        if path in stamps and is_deletable_corrupt_shard(path, modality, key):
            stale.append(_stale(path, DAMAGED, stamps[path], rows=0, modality=modality, key=key))
    return stale, sum(states.values(), Counter())


def _state(
    at: FeatureLocation,
    utterance: Utterance | None,
    current: FeatureLocation | None,
    modality: str,
    media: MediaFingerprints,
) -> str:
    """Whether a shard's row is current, or why not."""
    if utterance is None:
        return ABSENT
    if at is current:
        return CURRENT
    if at.source != utterance.source(modality):
        return CHANGED_ROW
    return NEWER if media.unchanged(utterance.media(modality), at.media) else CHANGED_MEDIA


def _left_over(features: Path) -> list[StaleFile]:
    """Temporary files of processes that live no more, where foal writes any."""
    return [_stale(path, LEFT_OVER, media_fingerprint(path), rows=0) for path in stale_temporaries(features)]


def _stale(
    path: Path, reason: str, stamp: str, *, rows: int, modality: str = "", key: str = "", imported: bool = False
) -> StaleFile:
    # A stamp begins with the size.
    size = int(stamp.partition(":")[0] or 0)
    return StaleFile(
        path=path, reason=reason, size=size, rows=rows, stamp=stamp, modality=modality, key=key, imported=imported
    )


def _read_claim(path: Path) -> FileIdentity | None:
    """What a shard says of itself, were it of an older foal; None for all other files and those of a newer foal."""
    with suppress(OSError, StoreError):
        said = sniff(path)
        if said is not None and said.format == FORMAT and said.version is not None and said.version <= VERSION:
            return said
    return None


def _imported(claim: FileIdentity) -> bool:
    with suppress(ValueError, RecursionError):
        config = json.loads(claim.config or "")
        return isinstance(config, dict) and config.get("provenance") == "imported"
    return False


def is_deletable_corrupt_shard(path: Path, modality: str, key: str) -> bool:
    """Whether a file in the folder of this modality and key is one of our shards, and damaged beyond use.

    Such a file may be deleted once its utterances were extracted again. One that is in order is not, nor one that only
    could not be read (a permission, a lock, the network), a symbolic link, or one of a newer foal; in doubt it is
    somebody else's.
    """
    try:
        if path.is_symlink():
            return False
        with suppress(FutureError), ShardReader(path, whole=True) as shard:
            # Of another folder, or it was only busy a moment ago.
            return bool(damage_in(shard)) and _belongs(shard.header.modality, shard.header.config_hash, modality, key)
    except OSError:
        return False
    except StoreError:
        return _is_ours(path, modality, key)
    return False


def _is_ours(path: Path, modality: str, key: str) -> bool:
    """Whether a file that cannot be read as a shard is one of these, nevertheless."""
    try:
        handle = open_regular(path)
        try:
            seal = read_seal(handle)
            if seal is not None and not is_intact(handle, seal):
                return True
        finally:
            os.close(handle)
        said = sniff(path)
    except (OSError, StoreError):
        return False
    if seal is not None:
        # In perfect order, and not readable here all the same: an older foal's, another format, or made with malice.
        return said is not None and said.format == FORMAT and _belongs(said.modality, said.config_hash, modality, key)
    if said is None:
        return OUR_NAME.fullmatch(path.name) is not None
    known = said.format == FORMAT and (said.version or 0) <= VERSION
    return known and _belongs(said.modality, said.config_hash, modality, key)


def _belongs(modality: str | None, found_key: str | None, wanted: str, key: str) -> bool:
    return modality == wanted and (found_key or "")[:SHORT_HASH_LENGTH] == key[:SHORT_HASH_LENGTH]
