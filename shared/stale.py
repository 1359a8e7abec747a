"""What in a features folder nothing needs any more: shards of other configurations, superseded, damaged, left over."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from .catalog import KEY_LENGTH, Located, Media, keys_on_disk, read_catalog, shard_files
from .errors import StoreError
from .files import stale_temporaries
from .fingerprint import media_fingerprint
from .hdf5 import damage_named
from .settings import modality_of
from .shard import FORMAT, VERSION, ShardReader
from .utterance import Utterance, split_folder

OTHER = "another configuration"
SUPERSEDED = "superseded"
ABSENT = "not in the manifest"
DAMAGED = "damaged"
LEFT_OVER = "left over from a killed run"

CURRENT = "current"
CHANGED_MEDIA, CHANGED_ROW, NEWER = "of changed media", "of a changed row", "in a newer shard"

HDF5_START = b"\x89HDF\r\n\x1a\n"
OUR_NAME = re.compile(r"[0-9a-f]{16}\.h5")


@dataclass(frozen=True, kw_only=True)
class Stale:
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
class Findings:
    """The stale files, and the rows of each key in use, by `audio-1a2b3c4d`: how many are current or why they are not.

    Those not current may stand in shards that are not stale.
    """

    stale: tuple[Stale, ...]
    rows: Mapping[str, Mapping[str, int]]


def find_stale(features: Path, utterances: Sequence[Utterance], keys: Mapping[str, str], media: Media) -> Findings:
    """What is stale in a features folder, given the manifest and the key in use of each stream.

    Only modalities of these streams are looked at. An empty key is one that is not known: no shard has it. Files that
    are no shards, that are another's, or that cannot be opened for want of a permission are never stale.
    """
    stale: list[Stale] = []
    rows: dict[str, Mapping[str, int]] = {}
    for modality in dict.fromkeys(map(modality_of, keys)):
        used = {key[:KEY_LENGTH] for stream, key in keys.items() if key and modality_of(stream) == modality}
        for key in keys_on_disk(features, modality):
            if key in used:
                of_key, rows[f"{modality}-{key}"] = _judge(features, utterances, modality, key, media)
                stale += of_key
            else:
                stale += _of_another_key(features, modality, key)
    return Findings(stale=(*stale, *_left_over(features)), rows=rows)


def _of_another_key(features: Path, modality: str, key: str) -> list[Stale]:
    found = []
    for path in shard_files(features, modality, key):
        stamp, said = media_fingerprint(path), _read_claim(path)
        if said is not None and said.belongs(modality, key):
            found.append(_stale(path, OTHER, stamp, rows=said.rows, modality=modality, key=key, imported=said.imported))
    return found


def _judge(
    features: Path, utterances: Sequence[Utterance], modality: str, key: str, media: Media
) -> tuple[list[Stale], Mapping[str, int]]:
    """Of a key in use the shards that have not one current row or are damaged, and all its rows by state."""
    # Before anything is read: who removes the file compares, and finds that it was written anew meanwhile.
    stamps = {path: media_fingerprint(path) for path in shard_files(features, modality, key)}
    catalog = read_catalog(features, modality, key)
    row_of = {(split_folder(utterance.split), utterance.id): utterance for utterance in utterances}
    states: dict[Path, Counter[str]] = {path: Counter() for path in catalog.headers}
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
        if path in stamps and _is_damaged_shard(path, modality, key):
            stale.append(_stale(path, DAMAGED, stamps[path], rows=0, modality=modality, key=key))
    return stale, sum(states.values(), Counter())


def _state(at: Located, utterance: Utterance | None, current: Located | None, modality: str, media: Media) -> str:
    """Whether a shard's row is current, or why not."""
    if utterance is None:
        return ABSENT
    if at is current:
        return CURRENT
    if at.source != utterance.source(modality):
        return CHANGED_ROW
    return NEWER if media.unchanged(utterance.media(modality), at.media) else CHANGED_MEDIA


def _left_over(features: Path) -> list[Stale]:
    """Temporary files of processes that live no more, where foal writes any."""
    return [_stale(path, LEFT_OVER, media_fingerprint(path), rows=0) for path in stale_temporaries(features)]


def _stale(
    path: Path, reason: str, stamp: str, *, rows: int, modality: str = "", key: str = "", imported: bool = False
) -> Stale:
    # A stamp begins with the size.
    size = int(stamp.partition(":")[0] or 0)
    return Stale(
        path=path, reason=reason, size=size, rows=rows, stamp=stamp, modality=modality, key=key, imported=imported
    )


@dataclass(frozen=True, kw_only=True)
class _Claim:
    """What a file says of itself, of this or an older version of foal."""

    modality: str
    key: str
    rows: int
    imported: bool

    def belongs(self, modality: str, key: str) -> bool:
        """Whether it lies in its own folder; anywhere else it is somebody's copy."""
        return self.modality == modality and self.key[:KEY_LENGTH] == key


def _read_claim(path: Path) -> _Claim | None:
    """What a shard says of itself, were it of an older foal; None for all other files and those of a newer foal."""
    try:
        with h5py.File(path, "r") as file, damage_named(path, "not read further"):
            attrs = file.attrs
            if attrs.get("format") != FORMAT or attrs["version"] > VERSION:
                return None
            imported = json.loads(attrs["config"]).get("provenance") == "imported"
            return _Claim(modality=attrs["modality"], key=attrs["key"], rows=len(file["ids"]), imported=imported)
    except (OSError, StoreError):
        return None


def _is_damaged_shard(path: Path, modality: str, key: str) -> bool:
    """Whether a file that could not be read as one of these shards is one of them; in doubt it is somebody else's."""
    with suppress(StoreError), ShardReader(path):
        # Of another folder, or it was only busy a moment ago.
        return False
    try:
        with h5py.File(path, "r") as file:
            said = {name: file.attrs.get(name) for name in ("format", "version", "modality", "key")}
    except OSError as error:
        # With an error number the system refused (a permission, a lock, the network): that is no damage.
        return error.errno is None and (OUR_NAME.fullmatch(path.name) is not None or _starts_like_hdf5(path))
    except (RuntimeError, KeyError, ValueError, TypeError):
        return True
    known = isinstance(said["version"], int | np.integer) and bool(said["version"] <= VERSION)
    ours = said["format"] == FORMAT and said["modality"] == modality and str(said["key"])[:KEY_LENGTH] == key
    return known and ours


def _starts_like_hdf5(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(HDF5_START)) == HDF5_START
    except OSError:
        return False
