"""The spine of `foal clean`: which shards the present settings and manifest need no more, and their removal."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from ...shared.cli.console import get_console
from ...shared.config.settings import MODALITIES, ExtractSettings, Settings, modality_of
from ...shared.errors import EncoderError, FoalError, StoreError, UsageError
from ...shared.files.fingerprint import media_fingerprint
from ...shared.files.lock import features_lock
from ...shared.manifest import read_manifest
from ...shared.store.catalog import SHORT_HASH_LENGTH, MediaFingerprints
from ...shared.store.feature_store import FeatureStore
from ..schedule.stream_spec import present_key
from .stale import ABSENT, OTHER, StaleFile, find_stale

HEX = frozenset("0123456789abcdef")


def clean_features(
    settings: Settings,
    index: Path,
    *,
    keep: Sequence[str] = (),
    imported: bool = False,
    remove: bool = False,
    break_lock: bool = False,
) -> None:
    """List what is stale in the features folder; with `remove`, remove exactly what is listed.

    What `index`, the settings' index or one in the features folder points to stays. Raises StoreError if one of them
    cannot be read, since it is not known then what it points to.
    """
    console = get_console()
    features = settings.extract.features_dir
    if features.exists() and not features.is_dir():
        raise UsageError(f"{features}: expected a folder of features, got a file")
    manifest = read_manifest(settings.corpus.manifest)
    kept_keys = _checked(keep, features)
    indexed = _indexed_shards([index, settings.index, features / "feats.h5"])
    keys, unknown = _keys_in_use(settings.extract)
    stale = find_stale(features, manifest, keys, MediaFingerprints(settings.corpus.root)).stale

    def why_staying(one: StaleFile) -> str:
        if not _lies_inside(features, one.path):
            return "a symbolic link, or behind one"
        if (place := indexed.get(one.path.resolve())) is not None:
            return f"still in {place}"
        if one.key in kept_keys:
            return "--keep"
        if one.reason == OTHER and one.modality in unknown:
            return "unknown"
        return "imported" if one.reason == OTHER and one.imported and not imported else ""

    why = [(one, why_staying(one)) for one in stale]
    going = [one for one, reason in why if not reason]
    staying = [(one, reason) for one, reason in why if reason]
    _report(console, features, going, staying)
    for place in dict.fromkeys(reason for _, reason in staying if reason.startswith("still in ")):
        console.print(f"{place}: run `foal index` first, then what it no longer needs can go")
    for modality, reason in unknown.items():
        console.print(f"unknown: {reason}; so every {modality} shard of a key not in use is kept")
    if any(reason == "imported" for _, reason in staying):
        console.print("imported: no encoder's settings say whether they are needed; --imported lists them too")
    if any(one.reason == ABSENT for one in going):
        console.print(f"{ABSENT}: of no utterance in {settings.corpus.manifest}; do they belong to another manifest?")
    if remove and going:
        with features_lock(features, break_lock=break_lock):
            count, size = remove_files(features, going)
        console.print(f"removed {count} of {len(going)} files ({decimal(size)})")
    elif going:
        console.print(
            "nothing was removed; `foal clean --remove` with the same options removes what is listed as stale"
        )


def _keys_in_use(settings: ExtractSettings) -> tuple[dict[str, str], dict[str, str]]:
    """The key of every stream (empty: not known), and per modality with unknown keys why they are.

    A modality of which no stream is wanted counts by its own settings: they are what `foal extract` would make.
    """
    streams = [*settings.streams, *settings.encoders]
    streams += [modality for modality in MODALITIES if modality not in map(modality_of, streams)]
    keys: dict[str, str] = {}
    unknown: dict[str, str] = {}
    for stream in dict.fromkeys(streams):
        try:
            keys[stream] = present_key(settings, stream)
        except EncoderError as error:
            keys[stream] = ""
            unknown[modality_of(stream)] = f"the key of {stream} needs its weights: {error}"
    return keys, unknown


def _checked(keep: Sequence[str], features: Path) -> set[str]:
    """The keys of --keep as folders bear them; a slip in one must not cost what it was to keep."""
    on_disk = {path.name.rpartition("-")[2] for path in features.glob("*/*-*") if path.is_dir()}
    kept = set()
    for text in keep:
        key = text.rpartition("-")[2][:SHORT_HASH_LENGTH]
        if len(key) < SHORT_HASH_LENGTH or not HEX.issuperset(key):
            raise UsageError(f"--keep: expected a key of at least {SHORT_HASH_LENGTH} hexadecimal digits, got {text!r}")
        if key not in on_disk:
            raise UsageError(f"--keep: there are no shards of key {text!r} in {features}; nothing was removed")
        kept.add(key)
    return kept


def _indexed_shards(places: Sequence[Path]) -> Mapping[Path, Path]:
    """Every shard that one of these indexes points to, resolved, and the index that does."""
    found: dict[Path, Path] = {}
    for place in {place.resolve(): place for place in places if place.exists()}.values():
        try:
            with FeatureStore(place) as store:
                found |= {path.resolve(): place for path in store.shard_paths}
        except StoreError as error:
            raise StoreError(
                f"{error}\nwhich shards {place} needs is not known, so nothing was removed; make it anew with "
                "`foal index`, or take it away"
            ) from None
    return found


def _lies_inside(features: Path, path: Path) -> bool:
    """Whether a path is a regular file in the folder itself, by no symbolic link below it."""
    return path.is_file() and path.resolve() == features.resolve() / path.relative_to(features)


def _report(
    console: Console, features: Path, going: Sequence[StaleFile], staying: Sequence[tuple[StaleFile, str]]
) -> None:
    """Tables of what is stale and of what stays, by reason and folder."""
    if not going:
        console.print(f"{features}: nothing to remove")
    else:
        console.print(_table(features, [(one, one.reason) for one in going], title="stale"))
    if staying:
        console.print(_table(features, staying, title="kept"))


def _table(features: Path, found: Sequence[tuple[StaleFile, str]], *, title: str) -> Table:
    table = Table("reason", "folder", "files", "utterances", "size", title=title)
    for column in table.columns[2:]:
        column.justify = "right"
    groups: dict[tuple[str, str], list[StaleFile]] = {}
    for one, reason in found:
        folder = one.path.parent.relative_to(features).as_posix()
        groups.setdefault((reason, folder), []).append(one)
    for (reason, folder), members in sorted(groups.items()):
        table.add_row(reason, folder, *_counts(members))
    table.add_section()
    table.add_row("all", "", *_counts([one for one, _ in found]))
    return table


def _counts(members: Sequence[StaleFile]) -> tuple[str, str, str]:
    rows, size = sum(one.rows for one in members), sum(one.size for one in members)
    return f"{len(members):,}", f"{rows:,}", decimal(size)


def remove_files(features: Path, going: Sequence[StaleFile]) -> tuple[int, int]:
    """Remove the files, and the folders that this leaves empty; gives number and bytes.

    A file that changed since it was judged stays: an extraction running now has written it anew. Raises FoalError.
    """
    count = size = 0
    for one in going:
        if not _lies_inside(features, one.path) or media_fingerprint(one.path) != one.stamp:
            continue
        try:
            one.path.unlink(missing_ok=True)
        except OSError as error:
            raise FoalError(f"{one.path}: cannot be removed: {error.strerror}; {count} files were") from None
        count, size = count + 1, size + one.size
    folders = {folder for one in going for folder in one.path.parents if folder.is_relative_to(features)} - {features}
    for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
        # Only an empty folder can be removed in this way.
        with suppress(OSError):
            folder.rmdir()
    return count, size
