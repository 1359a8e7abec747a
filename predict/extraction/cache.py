"""The features of new clips: extracted by the code of `foal extract`, kept in a cache, and indexed for one prediction.

The cache is a features folder: one shard per media file and stream, named after the stretches of the file that it
holds. A shard counts as long as its file has the same size and time, or the same content.
"""

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ...extract.media.probe import probe
from ...extract.schedule.failures import ChunkResult, Failure, Quarantine
from ...extract.schedule.pending import reading_seconds
from ...extract.schedule.plan import Chunk, plan_chunks
from ...shared.cli.progress import progress_display
from ...shared.config.settings import ExtractSettings, Settings
from ...shared.errors import MediaError
from ...shared.files.atomic import remove, remove_stale_temporaries, temporary_name
from ...shared.files.media_state import MediaFingerprints
from ...shared.parallel.device import select_device
from ...shared.parallel.resources import local_resources
from ...shared.store.catalog import Catalog, read_shards, shard_folder
from ...shared.store.index_writer import write_index
from ...shared.timing import Seconds
from ...shared.utterance import TEXT, Utterance
from .copies import copy_for_faces, distinct, extracted_as
from .encoders import ModelStream

ONE_FILE: Seconds = 1e-9
"""Seconds of media after which a chunk ends: each file becomes a shard of its own."""

UNKNOWN_SECONDS: Seconds = 1.0
"""Length of a file whose header declares none, or cannot be read; for the progress display."""

ROOT = Path("/")
"""The root of absolute paths."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """The features of the clips of a prediction.

    Attributes:
        index: feats.h5 over the utterances without failures; None if all failed.
        failures: what could not be extracted.
        new: number of files and streams that were extracted now; the others were in the cache.
    """

    index: Path | None
    failures: tuple[Failure, ...]
    new: int


def cache_folder() -> Path:
    """The folder of features of `foal predict`: $XDG_CACHE_HOME/foal/features, or ~/.cache/foal/features."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "foal" / "features"


@contextmanager
def extracted_features(
    utterances: Sequence[Utterance],
    streams: Mapping[str, ModelStream],
    settings: Settings,
    *,
    folder: Path,
    workers: int = 0,
) -> Iterator[Extracted]:
    """Extract what is not in the cache yet; the index is removed when the block ends.

    Args:
        utterances: what is to be predicted, with absolute paths.
        streams: how each stream is extracted.
        settings: cluster settings: device and threads.
        folder: the cache.
        workers: Dask workers that extract in parallel (0: this process extracts).

    Raises:
        FoalError: an encoder cannot be loaded, the cache cannot be written, or workers cannot be started.
    """
    remove_stale_temporaries(folder)
    media = MediaFingerprints(ROOT, folder)
    catalogs: dict[str, Catalog] = {}
    pending: list[Chunk] = []
    for stream, found in streams.items():
        chunks = _chunks(distinct(utterances, found), stream, found)
        catalog = catalogs[stream] = _read(folder, found, chunks)
        pending += [
            # Deadlines of workers and the progress display count seconds.
            replace(chunk, seconds=sum(media_seconds(utterance, chunk.modality) for utterance in chunk.utterances))
            for chunk in chunks
            if any(catalog.find(utterance, chunk.modality, media) is None for utterance in chunk.utterances)
        ]
    failures: list[Failure] = []
    for chunk in _extract(pending, streams, settings, failures, folder=folder, workers=workers):
        catalogs[chunk.stream].update(_read(folder, streams[chunk.stream], [chunk]))
    failures = [
        replace(failure, id=utterance.id)
        for failure in failures
        for utterance in utterances
        if failure.id == extracted_as(utterance, streams[failure.stream]).id
    ]
    failed = {failure.id for failure in failures}
    kept = [utterance for utterance in utterances if utterance.id not in failed]
    current = MediaFingerprints(ROOT, folder)
    for stream, catalog in catalogs.items():
        copy_for_faces(catalog, kept, streams[stream], folder=folder, media=current)
    index = temporary_name(folder / "feats.h5")
    try:
        if kept:
            write_index(
                index,
                kept,
                folder,
                {stream: found.spec.config_hash for stream, found in streams.items()},
                catalogs=catalogs,
                media=current,
            )
        media.remember()
        yield Extracted(index=index if kept else None, failures=tuple(failures), new=len(pending))
    finally:
        remove(index)


def _chunks(utterances: Sequence[Utterance], stream: str, found: ModelStream) -> list[Chunk]:
    """A chunk, and so a shard, for each media file."""
    seconds = dict.fromkeys((utterance.id for utterance in utterances), UNKNOWN_SECONDS)
    return plan_chunks(utterances, stream, seconds, chunk_seconds=ONE_FILE, context=found.spec.context)


def _shard(folder: Path, chunk: Chunk, found: ModelStream) -> Path:
    return shard_folder(folder, chunk.split, chunk.modality, found.spec.config_hash) / chunk.name


def _read(folder: Path, found: ModelStream, chunks: Sequence[Chunk]) -> Catalog:
    """The catalog of the shards of some chunks, as far as they exist; damaged ones do not count."""
    paths = [_shard(folder, chunk, found) for chunk in chunks]
    existing = [path for path in dict.fromkeys(paths) if path.exists()]
    return read_shards(existing, found.spec.modality, found.spec.config_hash)


def _extract(
    chunks: Sequence[Chunk],
    streams: Mapping[str, ModelStream],
    settings: Settings,
    failures: list[Failure],
    *,
    folder: Path,
    workers: int,
) -> Iterator[Chunk]:
    """Extract chunks on workers or in this process; yields each when its shard is written."""
    by_stream: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        by_stream.setdefault(chunk.stream, []).append(chunk)
    if workers and len(chunks) > 1:
        # A worker has one precision; the other settings belong to the streams.
        for precision in sorted({streams[stream].settings.precision for stream in by_stream}):
            same = {name: streams[name] for name in by_stream if streams[name].settings.precision == precision}
            mine = [chunk for name in same for chunk in by_stream[name]]
            yield from _on_workers(mine, same, settings, failures, folder=folder, workers=workers)
        return
    for stream, mine in by_stream.items():
        own = streams[stream].settings.model_copy(update={"features_dir": folder})
        yield from _here(mine, streams[stream], settings, own, failures)


def _here(
    chunks: Sequence[Chunk], found: ModelStream, settings: Settings, own: ExtractSettings, failures: list[Failure]
) -> Iterator[Chunk]:
    """Extract chunks in this process."""
    import torch

    from ...extract.schedule.chunk import Encoders, extract_into_shard

    stream = found.spec.stream
    # The threads of a worker of `foal extract`: the last bits of a sum depend on them.
    resources = local_resources(settings.cluster, decode_threads=own.decode_threads)
    before = torch.get_num_threads()
    torch.set_num_threads(resources.threads)
    device = select_device(settings.cluster.device)
    encoders = Encoders(own, {stream: found.spec}, device, decode_threads=resources.decode_threads)
    command = " ".join(["foal", *sys.argv[1:]])
    try:
        encoders.load(stream)
        total = max(1, round(sum(chunk.seconds for chunk in chunks)))
        unit = f"s of media for the {stream} features"
        with progress_display(stream, total=total, unit=unit) as display:
            done = 0.0
            for chunk in chunks:
                shard = _shard(own.features_dir, chunk, found)
                result: ChunkResult = extract_into_shard(chunk, encoders, root=ROOT, shard=shard, command=command)
                failures += result.failures
                done += chunk.seconds
                display.update(completed=round(done))
                yield chunk
    finally:
        torch.set_num_threads(before)


def _on_workers(
    chunks: Sequence[Chunk],
    streams: Mapping[str, ModelStream],
    settings: Settings,
    failures: list[Failure],
    *,
    folder: Path,
    workers: int,
) -> Iterator[Chunk]:
    """Extract chunks of streams of one precision on Dask workers, as `foal extract` does."""
    from ...extract.schedule.execute import run_chunks

    own = next(iter(streams.values())).settings.model_copy(update={"features_dir": folder})
    cluster = settings.cluster.model_copy(update={"workers": workers})
    corpus = settings.corpus.model_copy(update={"root": ROOT})
    run = settings.model_copy(update={"extract": own, "cluster": cluster, "corpus": corpus})
    utterances = list({utterance.id: utterance for chunk in chunks for utterance in chunk.utterances}.values())
    specs = [found.spec for found in streams.values()]
    run_chunks(run, chunks, specs, Quarantine(run, utterances), failures, len(utterances))
    yield from chunks


def media_seconds(utterance: Utterance, modality: str) -> Seconds:
    """Length of an utterance: its own, or that of its file by the header; UNKNOWN_SECONDS where that is not known."""
    if utterance.seconds is not None:
        return utterance.seconds
    if modality == TEXT:
        return reading_seconds(utterance)
    if not (media := utterance.media(modality)):
        return UNKNOWN_SECONDS
    with suppress(MediaError):
        return max(0.0, (probe(Path(media)).seconds or UNKNOWN_SECONDS) - (utterance.start or 0.0))
    return UNKNOWN_SECONDS
