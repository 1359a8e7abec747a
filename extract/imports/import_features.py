"""The main flow of `foal import`: precomputed features become shards and feats.h5.

foal import --audio hubert/ --face clip/ --text roberta/ -o features-imported
foal import --face openface/ --name openface --face-rate 30 --nan invalid -o features-imported
foal import --format mmsa --audio mosei.npz --face mosei.npz --audio-rate 20 --face-rate 15 -o features-imported
"""

import json
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np

from ...shared.config.settings import INDEX_NAME, MODALITIES, Settings, modality_of
from ...shared.files.atomic import remove, remove_stale_temporaries
from ...shared.files.lock import features_lock
from ...shared.files.overwrite import check_overwrite
from ...shared.manifest import read_manifest
from ...shared.seen_corpora import seen_corpora_json, seen_corpus_warnings
from ...shared.store.catalog import Catalog, read_catalog, shard_folder, shard_name, store_catalog
from ...shared.store.index_writer import check_index, write_index
from ...shared.store.shard import Entry, ShardHeader, ShardWriter
from ...shared.text import counted, preview_ids
from ...shared.utterance import ANY_TEXT, TEXT, Utterance, splits_of
from ..maintenance.stale import is_deletable_corrupt_shard
from .earlier_streams import check_overlap, find_any, in_order, read_earlier_streams
from .feature_source import ArrayReader, FeatureSource, check_source, estimate_rate
from .imported_frames import DEFAULT_RULES, FrameRules
from .mmsa_file import MmsaFile
from .npy_folder import NpyFolder

Format = Literal["npy", "mmsa", "datasets"]

MAX_SHARD_BYTES = 64 * 2**20
"""Size of the values in one shard: all of them are in memory while it is written."""

log = logging.getLogger(__name__)


def import_features(
    settings: Settings,
    paths: Mapping[str, Path],
    out: Path,
    *,
    file_format: Format = "npy",
    keys: Mapping[str, str] | None = None,
    rules: FrameRules = DEFAULT_RULES,
    rates: Mapping[str, float],
    name: str | None,
    replace_index: bool = False,
    break_lock: bool = False,
    force: bool = False,
) -> None:
    """Write precomputed features as shards below `out`, and an index over them as out/feats.h5.

    All arrays, and all places to write to, are checked before anything is written. Streams of an earlier index over
    the folder stay in the index.

    Args:
        settings: the manifest and the number format.
        paths: the folder or file with the features of each modality.
        out: the folder to write to.
        file_format: how they are stored: a folder of ID.npy files, an MMSA container, or a Hugging Face dataset.
        keys: the array or column of each modality, and that of the ids as `id`, instead of the usual ones.
        rules: what frames of zeros and of NaN mean.
        rates: frames per second (Hz) by modality, instead of the estimated ones.
        name: name the stream `face/NAME` instead of `face`; only with one modality.
        replace_index: leave the streams of an earlier index out of the new one.
        break_lock: take over `out` from a run on another machine that is known to have ended.
        force: replace other files that have the name of a shard or of the index.

    Raises:
        UsageError: no array has the id of an utterance, a rate is missing, or a file would be replaced.
        StoreError: an array cannot be features; the message names its place.
        FutureError: a file to replace was written by a newer version of foal.
    """
    dtype = settings.extract.dtype
    manifest = read_manifest(settings.corpus.manifest)
    sources: list[tuple[FeatureSource, ShardHeader]] = []
    for modality in MODALITIES:
        if modality in paths:
            reader = _open_reader(file_format, modality, paths[modality], keys or {}, manifest)
            source = check_source(modality, reader, rules, dtype)
            rate_hz = rates.get(modality) or estimate_rate(source, manifest, settings.corpus.manifest)
            sources.append((source, _build_header(source, rate_hz, dtype, name)))

    config_hashes = {
        f"{header.modality}/{name}" if name else header.modality: header.config_hash for _, header in sources
    }
    seen = {stream: seen_corpora_json([stream], "") for stream in config_hashes}
    for warning in seen_corpus_warnings(seen, (utterance.corpus for utterance in manifest)):
        log.warning(warning)
    index = out / INDEX_NAME
    splits = splits_of(manifest)
    check_index(index, out, force=force)
    with features_lock(out, break_lock=break_lock) as taken_over:
        if taken_over:
            log.info(taken_over)
        remove_stale_temporaries(out, locked=True)
        earlier = {} if replace_index else read_earlier_streams((index, settings.index), out, config_hashes, splits)
        imported = {utterance_id for source, _ in sources for utterance_id in source.frames}
        kept = [utterance for utterance in manifest if utterance.id in imported or find_any(utterance, earlier)]
        check_overlap(kept, earlier, index)
        _report_missing(manifest, kept, [source for source, _ in sources])
        plans = [_plan_shards(source, header, kept, out) for source, header in sources]
        catalogs = [read_catalog(out, header.modality, header.config_hash, splits) for _, header in sources]
        for (_, header), plan, catalog in zip(sources, plans, catalogs, strict=True):
            _check_places(plan, header, catalog, force=force)
        for (source, header), plan, catalog in zip(sources, plans, catalogs, strict=True):
            _write_shards(source, header, plan)
            _remove_earlier(catalog, header, plan)
        streams = config_hashes | {stream: found.config_hash for stream, found in earlier.items()}
        known = {stream: found.catalog for stream, found in earlier.items()}
        for stream, config_hash in config_hashes.items():
            known[stream] = read_catalog(out, modality_of(stream), config_hash)
        result = write_index(index, kept, out, in_order(streams), catalogs=known, force=force)
        for catalog in known.values():
            store_catalog(catalog)
    for path, reason in result.damaged.items():
        log.warning(f"{path}: {reason}")
    if result.not_extracted:
        log.warning(
            f"left out of {index}, because {' or '.join(earlier)} has no row for them: "
            f"{preview_ids(result.not_extracted)}; extract or import that stream again"
        )
    summaries = [
        f"{stream}: width {source.width}, {_rows(source, header)} of {len(source.frames)} utterances"
        for stream, (source, header) in zip(config_hashes, sources, strict=True)
    ]
    summaries += [f"{stream}: kept" for stream in earlier]
    log.info(
        f"{result.path}: {counted(result.utterances, 'utterance')}{'' if result.changed else ', unchanged'}; "
        f"{'; '.join(summaries)}"
    )


def _rows(source: FeatureSource, header: ShardHeader) -> str:
    """The number of rows, such as `50 Hz, 1,200 frames` or `1,200 tokens`."""
    rows = f"{sum(source.frames.values()):,}"
    return f"{header.rate_hz:g} Hz, {rows} frames" if header.rate_hz else f"{rows} tokens"


def _open_reader(
    file_format: Format, modality: str, path: Path, keys: Mapping[str, str], manifest: Sequence[Utterance]
) -> ArrayReader:
    if file_format == "mmsa":
        return MmsaFile(modality, path, manifest, key=keys.get(modality), id_key=keys.get("id"))
    if file_format == "datasets":
        # PyArrow is an optional extra.
        from .dataset_folder import DatasetFolder

        return DatasetFolder(modality, path, manifest, key=keys.get(modality), id_key=keys.get("id"))
    return NpyFolder(modality, path, manifest)


def _build_header(source: FeatureSource, rate_hz: float, dtype: str, name: str | None) -> ShardHeader:
    """The header of the shards. The values do not enter the hash: a second import replaces the first."""
    config = {"provenance": "imported", "width": source.width, "rate_hz": rate_hz, "dtype": dtype}
    if name is not None:
        # Two encoders of the same width and rate must not replace each other.
        config["name"] = name
    return ShardHeader(
        modality=source.modality,
        config_hash=sha256(json.dumps([source.modality, config], sort_keys=True).encode()).hexdigest(),
        rate_hz=rate_hz,
        encoder="imported",
        revision="",
        weights="",
        random_weights=False,
        config=config,
    )


def _report_missing(manifest: Sequence[Utterance], kept: Sequence[Utterance], sources: Sequence[FeatureSource]) -> None:
    kept_ids = {utterance.id for utterance in kept}
    left_out = [utterance.id for utterance in manifest if utterance.id not in kept_ids]
    if left_out:
        places = " or ".join(dict.fromkeys(source.reader.place for source in sources))
        log.info(f"skipped, because not in {places}: {preview_ids(left_out)}")
    for source in sources:
        missing = [u.id for u in kept if u.id not in source.frames and u.id not in source.empty]
        if missing:
            log.info(f"without {source.modality}, because not in {source.reader.place}: {preview_ids(missing)}")


def _plan_shards(
    source: FeatureSource, header: ShardHeader, kept: Sequence[Utterance], out: Path
) -> dict[Path, list[Utterance]]:
    """The shards of one modality, and the utterances that each will contain."""
    itemsize = np.dtype(header.config["dtype"]).itemsize
    return {
        shard_folder(out, split, source.modality, header.config_hash) / shard_name(source.modality, part): part
        for split, members in splits_of(kept).items()
        for part in _cut(source, members, itemsize)
    }


def _check_places(plan: Iterable[Path], header: ShardHeader, existing: Catalog, *, force: bool) -> None:
    """Raise UsageError if a file that is not a shard of an earlier import has the name of a new shard."""

    def is_ours(path: Path) -> bool:
        return path in existing.shards or is_deletable_corrupt_shard(path, header.modality, header.config_hash)

    for path in plan:
        check_overwrite(path, kind="a shard of an earlier import", is_ours=is_ours, force=force)


def _write_shards(source: FeatureSource, header: ShardHeader, plan: Mapping[Path, Sequence[Utterance]]) -> None:
    command = " ".join(["foal", *sys.argv[1:]])
    for path, part in plan.items():
        with ShardWriter(path, header, dtype=header.config["dtype"], command=command) as writer:
            for utterance in part:
                writer.add(_build_entry(source, utterance, header.rate_hz))


def _remove_earlier(existing: Catalog, header: ShardHeader, written: Iterable[Path]) -> None:
    """Remove the shards of an earlier import, except those that were written now; other files stay."""
    earlier = [path for path in existing.shards if not path.is_symlink()]
    earlier += [
        path for path in existing.damaged if is_deletable_corrupt_shard(path, header.modality, header.config_hash)
    ]
    for path in sorted({*earlier} - {*written}):
        remove(path)


def _cut(source: FeatureSource, utterances: Iterable[Utterance], itemsize: int) -> list[list[Utterance]]:
    """The utterances in their order, cut so that no shard with several has more than MAX_SHARD_BYTES."""
    parts: list[list[Utterance]] = []
    size = 0
    for utterance in utterances:
        added = source.frames.get(utterance.id, 0) * source.width * itemsize
        if not parts or size + added > MAX_SHARD_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(utterance)
        size += added
    return parts


def _build_entry(source: FeatureSource, utterance: Utterance, rate_hz: float) -> Entry:
    values, valid, note = np.zeros((0, source.width), np.float32), np.zeros(0, bool), ""
    if utterance.id in source.frames:
        frames = source.read(utterance.id)
        values, valid = frames.values, frames.valid
    else:
        note = f"{'empty array' if utterance.id in source.empty else 'not'} in {source.reader.name}"
    return Entry(
        id=utterance.id,
        values=values,
        valid=valid,
        origin=(utterance.start or 0.0) + 0.5 / rate_hz if rate_hz else 0.0,
        # The words behind imported features are unknown: a corrected transcript does not make them stale.
        source=ANY_TEXT if source.modality == TEXT else utterance.source(source.modality),
        media="",
        note=note,
    )
