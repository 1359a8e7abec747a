"""The spine of `foal extract`: from a manifest and media on disk to shards and feats.h5."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from ..shared.catalog import Media, read_catalog, shard_folder
from ..shared.console import make_console
from ..shared.errors import EncoderError, FoalError, UsageError
from ..shared.join import Joined, write_index
from ..shared.options import comma_list
from ..shared.settings import MODALITIES, Settings
from ..shared.shard import ShardHeader
from ..shared.utterance import Utterance, read_manifest, select_splits, splits_of
from .failure import ChunkResult, Failure, chunk_failed
from .outcome import report_failures, report_index, summary, write_failures
from .pending import pending_chunks, remove_stale_files
from .plan import Chunk, by_media
from .recipe import find_weights, present_key, shard_header
from .weights import Weights

QUARANTINED_EXIT = 3


def extract(settings: Settings, splits: Sequence[str], *, index: Path | None) -> int:
    """Extract what is missing of the given splits and index it; gives the exit code (0, or 3 with failures).

    Raises FoalError: nothing that was finished before is lost, and the same command goes on from there.
    """
    console = make_console()
    features = settings.extract.features
    manifest = read_manifest(settings.corpus.manifest)
    utterances = select_splits(manifest, _separate(splits, manifest))
    modalities: tuple[str, ...] = settings.extract.modalities
    weights = {modality: find_weights(settings.extract, modality) for modality in modalities}
    headers = {modality: shard_header(settings.extract, modality, found) for modality, found in weights.items()}
    remove_stale_files(features)

    chunks = pending_chunks(settings, utterances, headers, console)
    if not chunks:
        console.print("nothing is left to do")
    elif not settings.corpus.root.is_dir():
        raise UsageError(
            f"{settings.corpus.root}: expected the corpus root (--root, key corpus.root) that the paths of "
            f"{settings.corpus.manifest} start from, got no such folder"
        )
    failures = _run(settings, chunks, weights, headers, console) if chunks else []

    write_failures(features, utterances, failures)
    console.print(summary(settings, utterances, headers))
    report_failures(failures, console)
    if len({failure.id for failure in failures}) == len(utterances):
        raise FoalError(f"none of the {len(utterances)} utterances could be extracted: {failures[0].reason}")
    if index is not None:
        report_index(_index(settings, manifest, headers, index), console)
    return QUARANTINED_EXIT if failures else 0


def _separate(splits: Sequence[str], manifest: Sequence[Utterance]) -> list[str]:
    """`--split a,b` as two splits, unless there is one of that name."""
    known = splits_of(manifest)
    return [name for text in splits for name in ([text] if text in known else comma_list(text) or [])]


def _run(
    settings: Settings,
    chunks: Sequence[Chunk],
    weights: Mapping[str, Weights],
    headers: Mapping[str, ShardHeader],
    console: Console,
) -> list[Failure]:
    """Work off the chunks on Dask workers; gives the failures."""
    # Dask and torch take seconds to import, and a run with nothing to do needs neither.
    from distributed import Future, KilledWorker, as_completed

    from .cluster import local_cluster, threads_per_worker, usual_workers
    from .progress import Tally, shown
    from .worker import EncoderPlugin, extract_chunk

    usual = settings.extract.workers or usual_workers()
    workers = min(usual, len(chunks))
    # The last bits of a sum depend on the number of threads: it must not change when only a chunk or two are left.
    plugin = EncoderPlugin(settings.extract, weights, threads_per_worker(usual))
    console.print(f"{len(chunks)} chunks on {workers} worker{'s' * (workers > 1)}")
    tally, failures = Tally(chunks), list[Failure]()
    command = " ".join(["foal", *sys.argv[1:]])
    with local_cluster(workers, plugin) as client, shown(tally, console) as display:

        def submit(chunk: Chunk) -> "Future[ChunkResult]":
            header = headers[chunk.modality]
            folder = shard_folder(settings.extract.features, chunk.split, chunk.modality, header.key)
            return client.submit(
                extract_chunk,
                chunk,
                root=settings.corpus.root.absolute(),
                shard=folder.absolute() / chunk.name,
                header=header,
                store=settings.extract.store,
                command=command,
                key=f"{chunk.modality}-{chunk.split}-{chunk.name}",
                priority=chunk.seconds,
            )

        open_chunks = {submit(chunk): chunk for chunk in chunks}
        completed = as_completed(list(open_chunks))
        for future in completed:
            chunk = open_chunks.pop(future)
            try:
                result: ChunkResult = future.result()
            except KilledWorker:
                # One of its files kills the process that decodes it: each on its own, to know which.
                parts = by_media(chunk)
                if len(parts) > 1:
                    again = {submit(part): part for part in parts}
                    open_chunks |= again
                    completed.update(again)
                    continue
                result = chunk_failed(chunk, "the worker process died over this file")
            # A result still held would be computed again if its worker died.
            future.release()
            failures += result.failures
            tally.add(result)
            display.advance()
    return failures


def _index(settings: Settings, manifest: Sequence[Utterance], headers: Mapping[str, ShardHeader], out: Path) -> Joined:
    """Join the manifest with the shards of this run, and with those of another modality that covers them all."""
    features, media = settings.extract.features, Media(settings.corpus.root)
    catalogs = {modality: read_catalog(features, modality, header.key) for modality, header in headers.items()}
    covered = [u for u in manifest if all(c.find(u, modality, media) for modality, c in catalogs.items())]
    keys = {modality: header.key for modality, header in headers.items()}
    for modality in MODALITIES:
        if modality not in keys:
            with suppress(EncoderError):
                key = present_key(settings.extract, modality)
                other = read_catalog(features, modality, key)
                if all(other.find(utterance, modality, media) for utterance in covered):
                    keys[modality] = key
    ordered = {modality: keys[modality] for modality in MODALITIES if modality in keys}
    return write_index(out, manifest, features, ordered, media=media)
