"""The catalog of a features folder: the shards of each split, modality and configuration, and their utterances."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StoreError
from ..files.atomic import TEMPORARY_PREFIX
from ..files.media_state import MediaFingerprints
from ..files.unicode_names import nfc
from ..hdf5.opening import FutureError
from ..text import shortened
from ..utterance import ANY_TEXT, TEXT, Utterance, split_folder
from .shard import ShardHeader, ShardReader, damage_in

SHORT_HASH_LENGTH = 8


@dataclass(frozen=True, kw_only=True)
class FeatureLocation:
    """The location of one utterance's features: row `row` of a shard, packed frames offset to offset + length.

    The other fields are those of the shard's row, see `Entry`.
    """

    shard: Path
    row: int
    offset: int
    length: int
    origin: float
    checksum: str
    source: str
    media: str
    content: str
    note: str
    valid_frames: int
    quality: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class ShardInfo:
    """A shard as it was read: header, content digest, shape and format of its frames, size in bytes, time of writing.

    `extents` is the first byte of the values, the first byte of the validity flags, and the number of frames.
    """

    header: ShardHeader
    digest: str
    frame_shape: tuple[int, ...]
    dtype: str
    size: int
    extents: tuple[int, int, int]
    created: str


@dataclass(kw_only=True)
class Catalog:
    """The intact shards of one modality and configuration, their utterances by (split folder, id), the damaged ones."""

    shards: dict[Path, ShardInfo] = field(default_factory=dict)
    damaged: dict[Path, str] = field(default_factory=dict)
    located: dict[tuple[str, str], list[FeatureLocation]] = field(default_factory=dict)

    def find(
        self, utterance: Utterance, modality: str, media: MediaFingerprints | None = None
    ) -> FeatureLocation | None:
        """The current features of an utterance.

        Args:
            utterance: a row of the manifest.
            modality: audio, face or text.
            media: if given, features of media that have changed do not count, and paths that differ in case are the
                same if they lead to the same file.

        Returns:
            The newest features of the same stretch of the same file or of the same words, or None.
        """
        source, path = utterance.source(modality, self.context), utterance.media(modality)
        for location in self.located.get(row_key(utterance.split, utterance.id), ()):
            if is_same_source(location.source, source, media) and (
                media is None or media.unchanged(path, location.media, location.content)
            ):
                return location
        return None

    @property
    def context(self) -> int:
        """Number of previous turns that the encoder reads; the shards of a catalog agree in it."""
        shard = next(iter(self.shards.values()), None)
        return 0 if shard is None else context_turns(shard.header.config)

    @property
    def headers(self) -> dict[Path, ShardHeader]:
        """The headers of the intact shards."""
        return {path: shard.header for path, shard in self.shards.items()}

    def update(self, newer: "Catalog") -> None:
        """Add the shards of another catalog: they replace those of the same path, and come before all others."""
        self.discard([path for path in (*newer.shards, *newer.damaged) if path in self.shards or path in self.damaged])
        self.shards.update(newer.shards)
        self.damaged.update(newer.damaged)
        for row, locations in newer.located.items():
            self.located[row] = [*locations, *self.located.get(row, ())]

    def discard(self, paths: Iterable[Path]) -> None:
        """Remove shards that no longer exist, or are about to be replaced."""
        gone = set(paths)
        if not gone:
            return
        for path in gone:
            self.shards.pop(path, None)
            self.damaged.pop(path, None)
        for row, locations in self.located.items():
            self.located[row] = [location for location in locations if location.shard not in gone]


def context_turns(config: Mapping[str, Any]) -> int:
    """The previous turns that an encoder with this configuration reads, see `Utterance.source`; 0 for other files."""
    turns = config.get("context", 0)
    return turns if isinstance(turns, int) else 0


def row_key(split: str, utterance_id: str) -> tuple[str, str]:
    """The key of an utterance in `Catalog.located`: its split's folder and its id, in Unicode form NFC."""
    return split_folder(split), nfc(utterance_id)


def is_same_source(recorded: str, source: str, media: MediaFingerprints | None = None) -> bool:
    """Whether two sources are the same stretch of the same file or the same words, see `Utterance.source`.

    Imported text features belong to any words. Paths are compared in Unicode form NFC. Paths that differ in case are
    the same if they lead to the same file.

    Args:
        recorded: the source in a shard.
        source: the source of a row of the manifest.
        media: the files of the corpus; None: case counts.
    """
    if recorded == source:
        return True
    try:
        (old, *old_part), (new, *new_part) = json.loads(recorded), json.loads(source)
        if recorded == ANY_TEXT and new == TEXT and len(new_part) == 1:
            return True
        if old_part != new_part or nfc(old).casefold() != nfc(new).casefold():
            return False
    except (ValueError, TypeError, AttributeError, RecursionError):
        return False  # imported features have sources of their own
    return nfc(old) == nfc(new) or (media is not None and media.same_file(old, new))


def shard_folder(features: Path, split: str, modality: str, config_hash: str) -> Path:
    """The folder of a split's shards: features/<split>/<modality>-<first digits of the hash>."""
    return features / split_folder(split) / f"{modality}-{config_hash[:SHORT_HASH_LENGTH]}"


def shard_name(modality: str, utterances: Iterable[Utterance], context: int = 0) -> str:
    """The file name of a shard: the same utterances (with the same `context`) give the same name."""
    content = [(nfc(utterance.id), utterance.source(modality, context)) for utterance in utterances]
    return blake2b(json.dumps(content).encode(), digest_size=8).hexdigest() + ".h5"


def config_hashes_on_disk(features: Path, modality: str) -> list[str]:
    """The shortened configuration hashes of which the folder holds shards of a modality."""
    folders = features.glob(f"*/{modality}-{'[0-9a-f]' * SHORT_HASH_LENGTH}")
    return sorted({folder.name.removeprefix(f"{modality}-") for folder in folders if any(folder.glob("*.h5"))})


def shard_files(features: Path, modality: str, config_hash: str, splits: Iterable[str] | None = None) -> list[Path]:
    """The shard files of a modality and configuration, sorted, without temporary files.

    Args:
        features: the features folder.
        modality: audio, face or text.
        config_hash: the configuration hash, or at least its first eight digits.
        splits: the splits to look in (default: all).
    """
    if splits is None:
        folders = sorted(features.glob(f"*/{modality}-{config_hash[:SHORT_HASH_LENGTH]}"))
    else:
        folders = [shard_folder(features, split, modality, config_hash) for split in splits]
    return [
        path for folder in folders for path in sorted(folder.glob("*.h5")) if not path.name.startswith(TEMPORARY_PREFIX)
    ]


def read_catalog(
    features: Path, modality: str, config_hash: str, splits: Iterable[str] | None = None, *, verify: bool = False
) -> Catalog:
    """Read the tables of every shard of a modality and configuration, each file opened once.

    Args:
        features: the features folder.
        modality: audio, face or text.
        config_hash: the configuration hash, or its first digits.
        splits: the splits to look in (default: all).
        verify: read every byte, and compare all values with their checksums.

    Returns:
        The catalog; damaged shards are listed in it.

    Raises:
        FutureError: a shard was written by a newer version of foal, and must not be replaced.
    """
    return read_shards(shard_files(features, modality, config_hash, splits), modality, config_hash, verify=verify)


def read_shards(paths: Iterable[Path], modality: str, config_hash: str, *, verify: bool = False) -> Catalog:
    """Read the tables of the given shards; arguments, result and errors as of `read_catalog`."""
    catalog = Catalog()
    for path in paths:
        try:
            with ShardReader(path, whole=verify) as shard:
                header = shard.header
                if header.modality != modality or not header.config_hash.startswith(config_hash):
                    actual = shortened(f"{header.modality}-{header.config_hash}", 140)
                    raise StoreError(f"expected a shard of this folder, got one of {actual}")
                if verify and (problems := damage_in(shard)):
                    raise StoreError(problems[0])
                _add(catalog, path, shard)
        except FutureError:
            raise
        except StoreError as error:
            catalog.damaged[path] = str(error).removeprefix(f"{path}: ")
    for locations in catalog.located.values():
        # After a change of its media, an utterance is in two shards: the newer one counts.
        locations.sort(key=lambda location: catalog.shards[location.shard].created, reverse=True)
    return catalog


def _add(catalog: Catalog, path: Path, shard: ShardReader) -> None:
    catalog.shards[path] = ShardInfo(
        header=shard.header,
        digest=shard.digest,
        frame_shape=shard.frame_shape,
        dtype=shard.dtype.name,
        size=shard.size,
        extents=shard.packed_extents,
        created=shard.created,
    )
    flags = shard.valid(0, int(shard.offsets[-1]))
    valid_before = np.concatenate([[0], np.cumsum(flags, dtype=np.int64)])
    split = path.parent.parent.name
    for row, utterance_id in enumerate(shard.ids):
        start, stop = int(shard.offsets[row]), int(shard.offsets[row + 1])
        location = FeatureLocation(
            shard=path,
            row=row,
            offset=start,
            length=stop - start,
            origin=float(shard.origins[row]),
            checksum=shard.checksums[row],
            source=shard.sources[row],
            media=shard.media[row],
            content=shard.contents[row],
            note=shard.notes[row],
            valid_frames=int(valid_before[stop] - valid_before[start]),
            quality=shard.quality_of(row),
        )
        catalog.located.setdefault((split, nfc(utterance_id)), []).append(location)
