"""Reads catalogs: from the stored tables as far as shards are unchanged since, else from the shards."""

import logging
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from ...errors import FoalError, StoreError
from ...files.unicode_names import nfc
from ...hdf5.opening import FutureError
from ...text import shortened
from ..shard import ShardReader, damage_in
from .catalog import Catalog, StoredState
from .catalog_file import CATALOG_NAME, read_catalog_file, write_catalog_file
from .folders import shard_files
from .rows import CatalogRows, ShardInfo, concatenated

log = logging.getLogger(__name__)


def read_catalog(
    features: Path, modality: str, config_hash: str, splits: Iterable[str] | None = None, *, verify: bool = False
) -> Catalog:
    """Read the rows of every shard of a modality and configuration.

    A shard is opened only if its size or modification time differs from that in the stored table of its folder.

    Args:
        features: the features folder.
        modality: audio, face or text.
        config_hash: the configuration hash, or its first digits.
        splits: the splits to look in (default: all).
        verify: compare every byte with its checksum; shards that were verified before, and have not changed since, are
            not read again.

    Returns:
        The catalog; damaged shards are listed in it.

    Raises:
        FutureError: a shard was written by a newer version of foal, and must not be replaced.
    """
    by_folder: dict[Path, list[Path]] = {}
    for path in shard_files(features, modality, config_hash, splits):
        by_folder.setdefault(path.parent, []).append(path)
    catalogs, changed = [], []
    for folder, paths in by_folder.items():
        catalog = _read_stored(folder, paths, modality, config_hash, verify=verify)
        changed += [path for path in paths if path not in catalog.shards]
        catalogs.append(catalog)
    return _merged([*catalogs, read_shards(changed, modality, config_hash, verify=verify)])


def read_shards(
    paths: Iterable[Path], modality: str, config_hash: str, *, verify: bool = False, verified: bool = False
) -> Catalog:
    """Read the rows of the given shards, each opened once.

    Args:
        paths: the shards.
        modality: audio, face or text.
        config_hash: the configuration hash, or its first digits.
        verify: compare every byte with its checksum.
        verified: the shards have just been written, and verified by their writer.

    Returns:
        The catalog; damaged shards are listed in it.

    Raises:
        FutureError: a shard was written by a newer version of foal, and must not be replaced.
    """
    catalog = Catalog()
    parts: list[CatalogRows] = []
    for path in paths:
        try:
            # Before the file is opened: a shard that is replaced meanwhile has another time afterwards.
            modified = _state(path)[1]
            with ShardReader(path, whole=verify) as shard:
                header = shard.header
                if header.modality != modality or not header.config_hash.startswith(config_hash):
                    actual = shortened(f"{header.modality}-{header.config_hash}", 140)
                    raise StoreError(f"expected a shard of this folder, got one of {actual}")
                if verify and (problems := damage_in(shard)):
                    raise StoreError(problems[0])
                rows = _rows_of(shard, len(catalog.paths))
                catalog.shards[path] = ShardInfo(
                    header=header,
                    digest=shard.digest,
                    frame_shape=shard.frame_shape,
                    dtype=shard.dtype.name,
                    size=shard.size,
                    extents=shard.packed_extents,
                    created=shard.created,
                    modified=modified,
                    verified=verify or verified,
                )
                catalog.paths.append(path)
                parts.append(rows)
        except FutureError:
            raise
        except StoreError as error:
            catalog.damaged[path] = str(error).removeprefix(f"{path}: ")
    catalog.rows = concatenated(parts)
    return _merged([catalog])


def store_catalog(catalog: Catalog) -> None:
    """Write the stored tables of the folders in a catalog, as far as they are no longer right.

    The caller holds the features folder. A folder that cannot be written costs the next run another look at its shards.
    """
    by_folder: dict[Path, list[Path]] = {folder: [] for folder in catalog.stored}
    for path in sorted(catalog.shards, key=str):
        by_folder.setdefault(path.parent, []).append(path)
    number_of = {path: number for number, path in enumerate(catalog.paths)}
    for folder, paths in by_folder.items():
        stored = catalog.stored.get(folder, {})
        shards = {path.name: catalog.shards[path] for path in paths}
        state: StoredState = {name: (info.size, info.modified, info.verified) for name, info in shards.items()}
        if stored is None or state == stored:
            continue
        numbers = np.full(len(catalog.paths), -1, np.int64)
        numbers[[number_of[path] for path in paths]] = np.arange(len(paths))
        rows = catalog.rows.take(numbers[catalog.rows.shard] >= 0).renumbered(numbers)
        with suppress(FoalError):
            write_catalog_file(folder / CATALOG_NAME, shards, rows)
            catalog.stored[folder] = state


def _read_stored(folder: Path, paths: Sequence[Path], modality: str, config_hash: str, *, verify: bool) -> Catalog:
    """The shards of a folder that are unchanged since its table was stored."""
    path = folder / CATALOG_NAME
    try:
        table = read_catalog_file(path)
    except FutureError as error:
        log.warning(f"{error}; until then the shards themselves are read")
        return Catalog(stored={folder: None})
    except StoreError:
        return Catalog(stored={folder: {}})
    catalog = Catalog(
        stored={folder: {name: (info.size, info.modified, info.verified) for name, info in table.shards.items()}},
    )
    for path in paths:
        info = table.shards.get(path.name)
        if (
            info is not None
            and (info.verified or not verify)
            and info.header.modality == modality
            and info.header.config_hash.startswith(config_hash)
            and _state(path) == (info.size, info.modified)
        ):
            catalog.shards[path] = info
    recorded = [folder / name for name in table.names]
    catalog.paths = [path for path in recorded if path in catalog.shards]
    catalog.rows = table.rows.of_shards(np.array([path in catalog.shards for path in recorded], bool))
    return catalog


def _merged(catalogs: Sequence[Catalog]) -> Catalog:
    """One catalog of all shards, the rows of the newest shard first."""
    merged = Catalog()
    parts: list[CatalogRows] = []
    for catalog in catalogs:
        merged.shards |= catalog.shards
        merged.damaged |= catalog.damaged
        merged.stored |= catalog.stored
        parts.append(catalog.rows.renumbered(np.arange(len(catalog.paths), dtype=np.int64) + len(merged.paths)))
        merged.paths += catalog.paths
    merged.shards = dict(sorted(merged.shards.items(), key=lambda item: str(item[0])))
    rows = concatenated(parts)
    # After a change of its media, an utterance is in two shards: the newer one counts.
    order = sorted(range(len(merged.paths)), key=lambda number: str(merged.paths[number]))
    order.sort(key=lambda number: merged.shards[merged.paths[number]].created, reverse=True)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    ranks = rank[rows.shard]
    merged.rows = rows if (ranks[1:] >= ranks[:-1]).all() else rows.take(np.argsort(ranks, kind="stable"))
    return merged


def _state(path: Path) -> tuple[int, int]:
    """Size and modification time in nanoseconds; (-1, -1) for a file that cannot be examined."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _rows_of(shard: ShardReader, number: int) -> CatalogRows:
    """The rows of an open shard. Raises StoreError if it cannot be read."""
    count = len(shard)
    flags = shard.valid(0, int(shard.offsets[-1]))
    valid_before = np.concatenate([[0], np.cumsum(flags, dtype=np.int64)])[shard.offsets]
    return CatalogRows(
        ids=np.array(list(map(nfc, shard.ids)), object),
        sources=np.array(shard.sources, object),
        checksums=np.array(shard.checksums, object),
        # Many utterances share a file, and most have no note.
        media=np.array(list(map(sys.intern, shard.media)), object),
        contents=np.array(list(map(sys.intern, shard.contents)), object),
        notes=np.array(list(map(sys.intern, shard.notes)), object),
        shard=np.full(count, number, np.int64),
        row=np.arange(count, dtype=np.int64),
        offset=shard.offsets[:-1],
        length=np.diff(shard.offsets),
        valid_frames=np.diff(valid_before),
        origins=shard.origins,
        quality={
            name: np.where(np.isfinite(column), column, np.nan).astype(np.float32)
            for name, column in shard.quality.items()
        },
    )
