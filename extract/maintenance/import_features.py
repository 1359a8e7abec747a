"""The spine of `foal import`: folders of `<id>.npy` files become shards and feats.h5."""

import json
import os
import posixpath
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from ...shared.cli.console import get_console
from ...shared.config.settings import MODALITIES, Settings
from ...shared.errors import StoreError, UsageError
from ...shared.files.atomic import remove, remove_stale_temporaries
from ...shared.files.lock import features_lock
from ...shared.manifest import read_manifest
from ...shared.store.catalog import Catalog, read_catalog, shard_folder, shard_name
from ...shared.store.index_writer import check_index, write_index
from ...shared.store.shard import Entry, ShardHeader, ShardWriter
from ...shared.text import preview_ids
from ...shared.utterance import Utterance, splits_of
from .stale import is_deletable_corrupt_shard

SHARD_BYTES = 64 * 2**20
"""Values in one shard: all of them are in memory while it is written."""

NEARLY = 0.02
"""An estimated rate this near to a round number is that number: encoders swallow a frame or two at the ends."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A folder of one modality that has been read through: the file and the frames of each utterance by id."""

    modality: str
    folder: Path
    width: int
    paths: Mapping[str, Path]
    frames: Mapping[str, int]


def import_features(
    settings: Settings,
    folders: Mapping[str, Path],
    out: Path,
    *,
    rates: Mapping[str, float],
    name: str | None,
    break_lock: bool = False,
) -> None:
    """Write the .npy files of `folders` (by modality) as shards below `out`, and out/feats.h5 over them.

    `rates` (by modality, Hz) replace the estimated ones; `name` makes the stream `face/name` of the only modality.
    Every file is checked before anything is written, and so is what lies where they go. Raises UsageError if no file
    belongs to the manifest, a rate is missing or another file lies in the index' place; StoreError that names the file
    if its numbers cannot be features, or another file lies in a shard's place; FutureError over files of a newer foal.
    """
    console, store = get_console(), settings.extract.dtype
    manifest = read_manifest(settings.corpus.manifest)
    sources: list[tuple[Found, ShardHeader]] = []
    for modality in (modality for modality in MODALITIES if modality in folders):
        found = _look_through(modality, folders[modality], manifest, store, console)
        rate_hz = rates.get(modality) or _estimated_rate(found, manifest, settings.corpus.manifest, console)
        sources.append((found, _header(found, rate_hz, store, name)))
    kept = [utterance for utterance in manifest if any(utterance.id in found.paths for found, _ in sources)]
    _report_missing(manifest, kept, [found for found, _ in sources], console)

    keys = {f"{header.modality}/{name}" if name else header.modality: header.config_hash for _, header in sources}
    index, splits = out / "feats.h5", splits_of(manifest)
    check_index(index, out)
    with features_lock(out, break_lock=break_lock) as word:
        if word:
            console.print(word)
        remove_stale_temporaries(out)
        planned = [_planned(found, header, kept, out) for found, header in sources]
        for (_, header), shards in zip(sources, planned, strict=True):
            _check_places(shards, header, read_catalog(out, header.modality, header.config_hash, splits))
        for (found, header), shards in zip(sources, planned, strict=True):
            _write_shards(found, header, shards)
            _remove_earlier(read_catalog(out, header.modality, header.config_hash, splits), header, shards)
        joined = write_index(index, kept, out, keys)
    for path, reason in joined.damaged.items():
        console.print(f"warning: {path}: {reason}")
    streams = "; ".join(
        f"{stream}: width {found.width}, {header.rate_hz:g} Hz, {sum(found.frames.values()):,} frames of "
        f"{len(found.frames)} utterances"
        for stream, (found, header) in zip(keys, sources, strict=True)
    )
    console.print(f"{joined.path}: {joined.utterances} utterances{'' if joined.changed else ', unchanged'}; {streams}")


def _look_through(modality: str, folder: Path, manifest: Sequence[Utterance], store: str, console: Console) -> Found:
    """Find and check the file of every utterance; raises UsageError if there is none, StoreError for a bad one."""
    paths = {u.id: path for u in manifest if (path := _file_of(folder, u.id)) is not None}
    others = sorted({path for path in folder.rglob("*.npy") if path.is_file()} - set(paths.values()))
    if not paths:
        expected = ", ".join(f"{utterance.id}.npy" for utterance in manifest[:3])
        there = ", ".join(path.relative_to(folder).as_posix() for path in others[:3]) or "no .npy file"
        raise UsageError(f"{folder}: expected files named after the manifest's ids, such as {expected}; got {there}")
    frames: dict[str, int] = {}
    width, first = 0, Path()
    for name, path in paths.items():
        frames[name], of_this = _checked_shape(path, store)
        if not width:
            width, first = of_this, path
        elif of_this != width:
            raise StoreError(
                f"{path}: expected {width} numbers per frame as in {first}, got {of_this}; "
                "the arrays of one modality are (width,) or (frames, width), all of one width"
            )
    if others:
        console.print(f"{modality}: {len(others)} files of {folder} belong to no utterance of the manifest")
    return Found(modality=modality, folder=folder, width=width, paths=paths, frames=frames)


def _file_of(folder: Path, name: str) -> Path | None:
    """The utterance's file; an id with slashes, of either kind, leads into sub-folders and never out of the folder."""
    for text in dict.fromkeys((name, name.replace("\\", "/"))):
        inside = posixpath.normpath(f"{text}.npy")
        # Path.is_file raises over a name that is too long.
        if not inside.startswith(("/", "../")) and os.path.isfile(folder / inside):
            return folder / inside
    return None


def _checked_shape(path: Path, store: str) -> tuple[int, int]:
    """Frames and width of a file whose numbers can be stored as `store`; raises StoreError that names it otherwise."""
    array = _opened(path)
    if array.dtype.kind not in "fiu":
        raise StoreError(f"{path}: expected an array of numbers, got one of type {array.dtype}")
    if array.ndim not in (1, 2):
        raise StoreError(f"{path}: expected an array of shape (width,) or (frames, width), got {array.shape}")
    if array.size == 0:
        raise StoreError(f"{path}: expected at least one frame, got an empty array of shape {array.shape}")
    if not np.isfinite(array).all():
        raise StoreError(f"{path}: expected finite numbers, got NaN or infinite ones")
    if not np.can_cast(array.dtype, store):
        extremes = np.array([array.min(), array.max()])
        with np.errstate(over="ignore"):
            fits = np.isfinite(extremes.astype(store)).all()
        if not fits:
            remedy = "; set extract.dtype to float32 (--store float32)" if store == "float16" else ""
            raise StoreError(f"{path}: the values are too large for {store} ({abs(extremes).max():g}){remedy}")
    return (1, len(array)) if array.ndim == 1 else array.shape


def _opened(path: Path) -> NDArray[Any]:
    """The array of an .npy file, mapped and not read; nothing is ever unpickled, and an .npz is none."""
    try:
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, TypeError, KeyError, OverflowError, SyntaxError, TokenError) as error:
        raise StoreError(
            f"{path}: expected a whole .npy file of numbers, got one that cannot be read: {error}"
        ) from None
    except (MemoryError, RecursionError):
        # Python's parser, to which NumPy gives the header, says so of brackets and signs without end.
        raise StoreError(f"{path}: expected a whole .npy file of numbers, got one whose header is too deep") from None
    return array


def _estimated_rate(found: Found, manifest: Iterable[Utterance], listed_in: Path, console: Console) -> float:
    """Frames per second (Hz): the median over the utterances whose length the manifest tells; 1 for single vectors."""
    if max(found.frames.values()) == 1:
        return 1.0
    rates = [found.frames[u.id] / u.seconds for u in manifest if u.id in found.frames and u.seconds is not None]
    if not rates:
        raise UsageError(
            f"{found.folder}: the files hold sequences, and {listed_in} does not say where their utterances end; "
            f"give the frames per second with --{found.modality}-rate HZ"
        )
    median = statistics.median(rates)
    # wav2vec2's 50 Hz look like 49.3 in short utterances: the multiple of five comes before the nearest whole number.
    round_numbers = [float(step * round(median / step)) for step in (5, 1)]
    nearly = [number for number in round_numbers if abs(median - number) <= NEARLY * number]
    # Else four digits: the rate is part of the key, which one utterance more should not change.
    rate_hz = nearly[0] if nearly else float(f"{median:.4g}")
    console.print(
        f"{found.modality}: {rate_hz:g} frames per second, estimated from {len(rates)} utterances "
        f"({min(rates):.4g} to {max(rates):.4g}); --{found.modality}-rate says otherwise"
    )
    return rate_hz


def _header(found: Found, rate_hz: float, store: str, name: str | None) -> ShardHeader:
    """How the features came here. The key leaves out the values: imported anew, they take the place of the old ones."""
    config = {"provenance": "imported", "width": found.width, "rate_hz": rate_hz, "store": store}
    if name is not None:
        # Two encoders of one width and rate must not replace each other.
        config["name"] = name
    key = sha256(json.dumps([found.modality, config], sort_keys=True).encode()).hexdigest()
    return ShardHeader(
        modality=found.modality,
        config_hash=key,
        rate_hz=rate_hz,
        encoder="imported",
        revision="",
        weights="",
        random_weights=False,
        config=config,
    )


def _report_missing(
    manifest: Sequence[Utterance], kept: Sequence[Utterance], sources: Sequence[Found], console: Console
) -> None:
    here = {utterance.id for utterance in kept}
    if without := [utterance.id for utterance in manifest if utterance.id not in here]:
        folders = " or ".join(str(found.folder) for found in sources)
        console.print(f"left out, because not in {folders}: {preview_ids(without)}")
    for found in sources:
        if without := [utterance.id for utterance in kept if utterance.id not in found.paths]:
            console.print(f"without {found.modality}, because not in {found.folder}: {preview_ids(without)}")


def _planned(found: Found, header: ShardHeader, kept: Sequence[Utterance], out: Path) -> dict[Path, list[Utterance]]:
    """The shards of one modality, and the utterances that each will hold."""
    itemsize = np.dtype(header.config["store"]).itemsize
    return {
        shard_folder(out, split, found.modality, header.config_hash) / shard_name(found.modality, part): part
        for split, members in splits_of(kept).items()
        for part in _cut(found, members, itemsize)
    }


def _check_places(planned: Iterable[Path], header: ShardHeader, there: Catalog) -> None:
    """Raise StoreError if something that is no shard of ours lies where one is to be written."""
    for path in planned:
        ours = path in there.shards or is_deletable_corrupt_shard(path, header.modality, header.config_hash)
        if os.path.lexists(path) and not ours:
            raise StoreError(
                f"{path}: expected a shard of an earlier import to replace, or nothing, got another file, or one that "
                "cannot be read; move it away"
            )


def _write_shards(found: Found, header: ShardHeader, planned: Mapping[Path, Sequence[Utterance]]) -> None:
    command = " ".join(["foal", *sys.argv[1:]])
    for path, part in planned.items():
        with ShardWriter(path, header, dtype=header.config["store"], command=command) as writer:
            for utterance in part:
                writer.add(_entry(found, utterance, header.rate_hz))


def _remove_earlier(there: Catalog, header: ShardHeader, written: Iterable[Path]) -> None:
    """Remove the shards of an earlier import, which those `written` replace; whatever else lies there stays."""
    earlier = [path for path in there.shards if not path.is_symlink()]
    earlier += [path for path in there.damaged if is_deletable_corrupt_shard(path, header.modality, header.config_hash)]
    for path in sorted({*earlier} - {*written}):
        remove(path)


def _cut(found: Found, utterances: Iterable[Utterance], itemsize: int) -> list[list[Utterance]]:
    """The utterances in their order, cut wherever another one would make the shard larger than SHARD_BYTES."""
    parts: list[list[Utterance]] = []
    size = 0
    for utterance in utterances:
        more = found.frames.get(utterance.id, 0) * found.width * itemsize
        if not parts or size + more > SHARD_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(utterance)
        size += more
    return parts


def _entry(found: Found, utterance: Utterance, rate_hz: float) -> Entry:
    path = found.paths.get(utterance.id)
    values = np.zeros((0, found.width), np.float32) if path is None else np.atleast_2d(_opened(path))
    return Entry(
        id=utterance.id,
        values=values,
        valid=np.ones(len(values), bool),
        origin=(utterance.start or 0.0) + 0.5 / rate_hz,
        source=utterance.source(found.modality),
        media="",
        note=f"not in {found.folder.absolute().name}" if path is None else "",
    )
