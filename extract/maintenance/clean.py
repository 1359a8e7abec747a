"""The main flow of `foal clean`: list the shards that settings and manifest do not need any more, and remove them.

foal clean                                  list them; nothing is removed
foal clean --remove                         remove exactly what is listed
foal clean --remove --keep-config 1a2b3c4d  keep the shards of one more configuration
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rich.filesize import decimal
from rich.table import Table

from ...shared.cli.console import get_console
from ...shared.config.settings import INDEX_NAME, MODALITIES, ExtractSettings, Settings, modality_of
from ...shared.errors import EncoderError, FoalError, StoreError, UsageError
from ...shared.files.fingerprint import media_fingerprint
from ...shared.files.lock import features_lock
from ...shared.files.media_state import MediaFingerprints
from ...shared.manifest import read_manifest
from ...shared.store.catalog import CATALOG_NAME, SHORT_HASH_LENGTH
from ...shared.store.feature_store import FeatureStore
from ..schedule.stream_spec import current_config_hash
from .row_states import ABSENT
from .stale import OTHER, StaleFile, find_stale

HEX_DIGITS = frozenset("0123456789abcdef")

IMPORTED = "imported"
UNKNOWN = "unknown"

log = logging.getLogger(__name__)


def clean_features(
    settings: Settings,
    index: Path,
    *,
    keep: Sequence[str] = (),
    imported: bool = False,
    remove: bool = False,
    break_lock: bool = False,
) -> None:
    """List the stale files of the features folder and, with `remove`, remove them.

    Shards that an index points to are kept: `index`, the index of the settings, and one in the features folder.

    Args:
        settings: the manifest, the streams and the features folder.
        index: the index to write or read by default.
        keep: config hashes whose shards are kept.
        imported: treat imported features of unused configurations as stale too.
        remove: remove what is listed.
        break_lock: take over the features folder from a run on another machine that is known to have ended.

    Raises:
        StoreError: an index cannot be read, so that the shards it needs are unknown.
        UsageError: the features folder is a file, or `keep` names a hash without shards.
    """
    features = settings.extract.features_dir
    if features.exists() and not features.is_dir():
        raise UsageError(f"{features}: expected a folder of features, got a file")
    manifest = read_manifest(settings.corpus.manifest)
    kept_hashes = _check_kept_hashes(keep, features)
    indexed = _indexed_shards([index, settings.index, features / INDEX_NAME])
    config_hashes, unknown = _hashes_in_use(settings.extract)
    media = MediaFingerprints(settings.corpus.root, features)
    stale = find_stale(features, manifest, config_hashes, media).stale
    media.remember()

    def reason_to_keep(file: StaleFile) -> str:
        if not _is_inside(features, file.path):
            return "reached through a symbolic link"
        index_path = indexed.get(file.path.resolve())
        if index_path is not None:
            return f"used by {index_path}"
        if file.config_hash in kept_hashes:
            return "--keep-config"
        if file.reason == OTHER and file.modality in unknown:
            return UNKNOWN
        return IMPORTED if file.reason == OTHER and file.imported and not imported else ""

    reasons = [(file, reason_to_keep(file)) for file in stale]
    removable = [file for file, reason in reasons if not reason]
    kept = [(file, reason) for file, reason in reasons if reason]
    _print_tables(features, removable, kept)
    for reason in dict.fromkeys(reason for _, reason in kept if reason.startswith("used by ")):
        log.info(f"{reason}: run `foal index` first, then remove the shards that are no longer used")
    for modality, reason in unknown.items():
        log.info(f"{UNKNOWN}: {reason}; therefore every {modality} shard of an unused configuration is kept")
    if any(reason == IMPORTED for _, reason in kept):
        log.info(f"{IMPORTED}: it is unknown whether these features are needed; --imported lists them too")
    if any(file.reason == ABSENT for file in removable):
        log.info(f"{ABSENT}: the utterances are not in {settings.corpus.manifest}; check that it is the right manifest")
    if remove and removable:
        with features_lock(features, break_lock=break_lock):
            count, size = remove_files(features, removable)
        log.info(f"removed {count} of {len(removable)} files ({decimal(size)})")
    elif removable:
        log.info("nothing was removed; `foal clean --remove` with the same options removes the files listed as stale")


def remove_files(features: Path, files: Sequence[StaleFile]) -> tuple[int, int]:
    """Remove files, and the folders that become empty.

    A file that changed since it was examined stays, because a running extraction has replaced it.

    Returns:
        The number of removed files, and their size in bytes.

    Raises:
        FoalError: a file cannot be removed.
    """
    count = 0
    size = 0
    for file in files:
        if not _is_inside(features, file.path) or media_fingerprint(file.path) != file.stamp:
            continue
        try:
            file.path.unlink(missing_ok=True)
        except OSError as error:
            raise FoalError(
                f"{file.path}: cannot be removed: {error.strerror}; {count} files were removed before"
            ) from None
        count += 1
        size += file.size
    parents = {folder for file in files for folder in file.path.parents if folder.is_relative_to(features)}
    for folder in sorted(parents - {features}, key=lambda folder: -len(folder.parts)):
        with suppress(OSError):
            # A table of no shards is of no use, and only an empty folder can be removed.
            if not any(folder.glob("*.h5")):
                (folder / CATALOG_NAME).unlink(missing_ok=True)
            folder.rmdir()
    return count, size


def _hashes_in_use(settings: ExtractSettings) -> tuple[dict[str, str], dict[str, str]]:
    """The config hash of every stream ("": unknown), and the reason for each modality with an unknown one.

    A modality without streams counts with its own settings, because `foal extract --streams` would use them.
    """
    streams = [*settings.streams, *settings.encoders]
    streams += [modality for modality in MODALITIES if modality not in map(modality_of, streams)]
    config_hashes: dict[str, str] = {}
    unknown: dict[str, str] = {}
    for stream in dict.fromkeys(streams):
        try:
            config_hashes[stream] = current_config_hash(settings, stream)
        except EncoderError as error:
            config_hashes[stream] = ""
            unknown[modality_of(stream)] = f"the config hash of {stream} needs its weights: {error}"
    return config_hashes, unknown


def _check_kept_hashes(keep: Sequence[str], features: Path) -> set[str]:
    """The short hashes of --keep-config. Raises UsageError for one without shards, which may be a typing error."""
    on_disk = {path.name.rpartition("-")[2] for path in features.glob("*/*-*") if path.is_dir()}
    kept = set()
    for text in keep:
        short_hash = text.rpartition("-")[2][:SHORT_HASH_LENGTH]
        if len(short_hash) < SHORT_HASH_LENGTH or not HEX_DIGITS.issuperset(short_hash):
            raise UsageError(
                f"--keep-config: expected at least {SHORT_HASH_LENGTH} hexadecimal digits of a hash, got {text!r}"
            )
        if short_hash not in on_disk:
            raise UsageError(f"--keep-config: no shards of config hash {text!r} in {features}; nothing was removed")
        kept.add(short_hash)
    return kept


def _indexed_shards(indexes: Sequence[Path]) -> Mapping[Path, Path]:
    """Every shard that one of the existing indexes points to, resolved, with the path of that index."""
    shards: dict[Path, Path] = {}
    for index in {index.resolve(): index for index in indexes if index.exists()}.values():
        try:
            with FeatureStore(index) as store:
                shards |= {path.resolve(): index for path in store.shard_paths}
        except StoreError as error:
            raise StoreError(
                f"{error}\nthe shards that {index} needs are unknown, so nothing was removed; write it again with "
                "`foal index`, or delete it"
            ) from None
    return shards


def _is_inside(features: Path, path: Path) -> bool:
    """Whether a path is a regular file in the folder, reached without symbolic links below it."""
    return path.is_file() and path.resolve() == features.resolve() / path.relative_to(features)


def _print_tables(features: Path, removable: Sequence[StaleFile], kept: Sequence[tuple[StaleFile, str]]) -> None:
    """Print the stale files and the kept ones, by reason and folder."""
    console = get_console()
    if removable:
        console.print(_table(features, [(file, file.reason) for file in removable], title="stale"))
    else:
        log.info(f"{features}: nothing to remove")
    if kept:
        console.print(_table(features, kept, title="kept"))


def _table(features: Path, files: Sequence[tuple[StaleFile, str]], *, title: str) -> Table:
    table = Table("reason", "folder", "files", "utterances", "size", title=title)
    for column in table.columns[2:]:
        column.justify = "right"
    groups: dict[tuple[str, str], list[StaleFile]] = {}
    for file, reason in files:
        folder = file.path.parent.relative_to(features).as_posix()
        groups.setdefault((reason, folder), []).append(file)
    for (reason, folder), members in sorted(groups.items()):
        table.add_row(reason, folder, *_totals(members))
    table.add_section()
    table.add_row("all", "", *_totals([file for file, _ in files]))
    return table


def _totals(files: Sequence[StaleFile]) -> tuple[str, str, str]:
    """Number of files, utterances and bytes, for a table."""
    rows = sum(file.rows for file in files)
    return f"{len(files):,}", f"{rows:,}", decimal(sum(file.size for file in files))
