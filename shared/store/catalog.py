"""What lies in a features folder: the shards of each split, modality and key, and the utterances in them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np

from ..errors import StoreError
from ..files.atomic import TEMPORARY_PREFIX
from ..files.fingerprint import CONTENT, media_fingerprint
from ..hdf5.opening import FutureError
from ..utterance import Utterance, split_folder
from .shard import ShardHeader, ShardReader, damage_in

SHORT_HASH_LENGTH = 8


@dataclass(frozen=True, kw_only=True)
class FeatureLocation:
    """Where one utterance's features are: row `row` of a shard, packed frames offset:offset + length."""

    shard: Path
    row: int
    offset: int
    length: int
    origin: float
    checksum: str
    source: str
    media: str
    note: str
    valid_frames: int
    quality: Mapping[str, float]


@dataclass(kw_only=True)
class Catalog:
    """The sound shards of one modality and key, their utterances by (split, id), and the damaged ones by reason."""

    headers: dict[Path, ShardHeader] = field(default_factory=dict)
    digests: dict[Path, str] = field(default_factory=dict)
    frame_shapes: dict[Path, tuple[int, ...]] = field(default_factory=dict)
    dtypes: dict[Path, str] = field(default_factory=dict)
    sizes: dict[Path, int] = field(default_factory=dict)
    extents: dict[Path, tuple[int, int, int]] = field(default_factory=dict)
    damaged: dict[Path, str] = field(default_factory=dict)
    located: dict[tuple[str, str], list[FeatureLocation]] = field(default_factory=dict)

    def find(
        self, utterance: Utterance, modality: str, media: "MediaFingerprints | None" = None
    ) -> FeatureLocation | None:
        """The features of a manifest's row, or None: not extracted, cut otherwise, or (if given) of changed media."""
        source, path = utterance.source(modality), utterance.media(modality)
        for found in self.located.get((split_folder(utterance.split), utterance.id), ()):
            if found.source == source and (media is None or media.unchanged(path, found.media)):
                return found
        return None

    def update(self, newer: "Catalog") -> None:
        """Add the shards of `newer`: they replace shards of the same path, and take precedence over all others."""
        replaced = newer.headers.keys() | newer.damaged.keys()
        self.discard([path for path in replaced if path in self.headers or path in self.damaged])
        for name in ("headers", "digests", "frame_shapes", "dtypes", "sizes", "extents", "damaged"):
            getattr(self, name).update(getattr(newer, name))
        for row, locations in newer.located.items():
            self.located[row] = [*locations, *self.located.get(row, ())]

    def discard(self, paths: Iterable[Path]) -> None:
        """Remove shards that are no longer on disk, or are about to be replaced."""
        gone = set(paths)
        if not gone:
            return
        for path in gone:
            for by_path in (self.headers, self.digests, self.frame_shapes, self.dtypes, self.sizes, self.extents):
                by_path.pop(path, None)
            self.damaged.pop(path, None)
        for row, locations in self.located.items():
            self.located[row] = [at for at in locations if at.shard not in gone]


class MediaFingerprints:
    """What the media files of a corpus are now: their fingerprints, each looked up once.

    A file that is not there says nothing: features may be used where their media are not.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[tuple[str, bool], str] = {}

    def unchanged(self, path: str, recorded: str) -> bool:
        """Whether a file, given relative to the corpus root, still is what its features were computed from.

        The recorded fingerprint decides what is compared: size and time of change, or the content.
        """
        if not path or not recorded:
            return True
        content = recorded.startswith(CONTENT)
        if (path, content) not in self._known:
            self._known[path, content] = media_fingerprint(self._root / path, content=content)
        return self._known[path, content] in ("", recorded)


def shard_folder(features: Path, split: str, modality: str, key: str) -> Path:
    """features/<split>/<modality>-<key8>."""
    return features / split_folder(split) / f"{modality}-{key[:SHORT_HASH_LENGTH]}"


def shard_name(modality: str, utterances: Iterable[Utterance]) -> str:
    """The file name of a shard: the same utterances give the same name."""
    content = [(utterance.id, utterance.source(modality)) for utterance in utterances]
    return blake2b(json.dumps(content).encode(), digest_size=8).hexdigest() + ".h5"


def config_hashes_on_disk(features: Path, modality: str) -> list[str]:
    """The (shortened) keys for which the folder holds shards of a modality."""
    folders = features.glob(f"*/{modality}-{'[0-9a-f]' * SHORT_HASH_LENGTH}")
    return sorted({folder.name.removeprefix(f"{modality}-") for folder in folders if any(folder.glob("*.h5"))})


def shard_files(features: Path, modality: str, key: str, splits: Iterable[str] | None = None) -> list[Path]:
    """The shard files of a modality and key, in one fixed order; temporary files are none."""
    folders = (
        sorted(features.glob(f"*/{modality}-{key[:SHORT_HASH_LENGTH]}"))
        if splits is None
        else [shard_folder(features, split, modality, key) for split in splits]
    )
    return [
        path for folder in folders for path in sorted(folder.glob("*.h5")) if not path.name.startswith(TEMPORARY_PREFIX)
    ]


def read_catalog(
    features: Path, modality: str, key: str, splits: Iterable[str] | None = None, *, verify: bool = False
) -> Catalog:
    """Open every shard of a modality and key and note what it holds; a damaged one is noted, not raised.

    With `verify` every byte is compared with the seal and every value with its checksum. Raises FutureError for a
    shard of a newer foal, which nobody may replace.
    """
    return read_shards(shard_files(features, modality, key, splits), modality, key, verify=verify)


def read_shards(paths: Iterable[Path], modality: str, key: str, *, verify: bool = False) -> Catalog:
    """Read a catalog of the given shards, as `read_catalog` does of all."""
    catalog = Catalog()
    created: dict[Path, str] = {}
    for path in paths:
        try:
            with ShardReader(path, whole=verify) as shard:
                if shard.header.modality != modality or not shard.header.config_hash.startswith(key):
                    raise StoreError(
                        f"a foreign shard: its key is {shard.header.modality[:64]}-{shard.header.config_hash[:64]}"
                    )
                if verify and (damage := damage_in(shard)):
                    raise StoreError(damage[0])
                _add(catalog, path, shard)
                created[path] = shard.created
        except FutureError:
            raise
        except StoreError as error:
            catalog.damaged[path] = str(error).removeprefix(f"{path}: ")
    for found in catalog.located.values():
        # After a change of its media an utterance stands in two shards: the newer one counts.
        found.sort(key=lambda at: created[at.shard], reverse=True)
    return catalog


def _add(catalog: Catalog, path: Path, shard: ShardReader) -> None:
    flags = shard.valid(0, int(shard.offsets[-1]))
    counts = np.concatenate([[0], np.cumsum(flags, dtype=np.int64)])
    catalog.headers[path] = shard.header
    catalog.digests[path] = shard.digest
    catalog.frame_shapes[path] = shard.frame_shape
    catalog.dtypes[path] = shard.dtype.name
    catalog.sizes[path] = shard.size
    catalog.extents[path] = shard.packed_extents
    for row, name in enumerate(shard.ids):
        start, stop = int(shard.offsets[row]), int(shard.offsets[row + 1])
        located = FeatureLocation(
            shard=path,
            row=row,
            offset=start,
            length=stop - start,
            origin=float(shard.origins[row]),
            checksum=shard.checksums[row],
            source=shard.sources[row],
            media=shard.media[row],
            note=shard.notes[row],
            valid_frames=int(counts[stop] - counts[start]),
            quality=shard.quality_of(row),
        )
        catalog.located.setdefault((path.parent.parent.name, name), []).append(located)
