"""The spine of `foal extract`: from a manifest and media on disk to shards and feats.h5."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from ..shared.catalog import Media, read_catalog, shard_folder
from ..shared.console import make_console
from ..shared.errors import EncoderError, FoalError, UsageError
from ..shared.files import remove_stale_temporaries
from ..shared.join import Joined, write_index
from ..shared.options import comma_list
from ..shared.settings import MODALITIES, Settings, modality_of
from ..shared.utterance import Utterance, read_manifest, select_splits, splits_of
from .failure import ChunkResult, Failure, chunk_failed
from .outcome import report_failures, report_index, summary, write_failures
from .pending import pending_chunks
from .plan import Chunk, by_media
from .recipe import Recipe, present_key, recipe

QUARANTINED_EXIT = 3


def extract(settings: Settings, splits: Sequence[str], *, index: Path | None, dry_run: bool = False) -> int:
    """Extract what is missing of the given splits and index it; gives the exit code (0, or 3 with failures).

    Raises FoalError: nothing that was finished before is lost, and the same command goes on from there.
    """
    console = make_console()
    features = settings.extract.features
    manifest = read_manifest(settings.corpus.manifest)
    utterances = select_splits(manifest, _separate(splits, manifest))
    recipes = _recipes(settings, utterances)
    if not dry_run:
        remove_stale_temporaries(features)

    chunks = pending_chunks(settings, utterances, recipes, console)
    if not chunks:
        console.print("nothing is left to do")
    elif not settings.corpus.root.is_dir():
        raise UsageError(
            f"{settings.corpus.root}: expected the corpus root (--root, key corpus.root) that the paths of "
            f"{settings.corpus.manifest} start from, got no such folder"
        )
    if dry_run:
        if chunks:
            from .estimate import estimate

            console.print(estimate(settings, chunks, recipes))
        return 0
    failures = _run(settings, chunks, recipes, console) if chunks else []

    write_failures(features, utterances, failures)
    console.print(summary(settings, utterances, recipes))
    report_failures(failures, console)
    if len({failure.id for failure in failures}) == len(utterances):
        raise FoalError(f"none of the {len(utterances)} utterances could be extracted: {failures[0].reason}")
    if index is not None:
        report_index(_index(settings, manifest, recipes, index), console)
    return QUARANTINED_EXIT if failures else 0


def _separate(splits: Sequence[str], manifest: Sequence[Utterance]) -> list[str]:
    """`--split a,b` as two splits, unless there is one of that name."""
    known = splits_of(manifest)
    return [name for text in splits for name in ([text] if text in known else comma_list(text) or [])]


def _recipes(settings: Settings, utterances: Sequence[Utterance]) -> list[Recipe]:
    """How each stream is made. Raises UsageError where two are the same, or the manifest has nothing for one."""
    recipes: list[Recipe] = []
    for stream in dict.fromkeys(settings.extract.modalities):
        modality = modality_of(stream)
        if not any(utterance.media(modality) for utterance in utterances):
            column = "video" if modality == "face" else "audio"
            others = [name for name in settings.extract.modalities if modality_of(name) != modality]
            raise UsageError(
                f"{settings.corpus.manifest}: {stream} features need the column {column}, which is empty in all "
                f"{len(utterances)} rows; extract with --modalities {','.join(others) or '(another)'}"
            )
        recipes.append(recipe(settings.extract, stream))
        for other in recipes[:-1]:
            if other.header.key == recipes[-1].header.key:
                raise UsageError(f"{stream} and {other.stream} are the same features; leave one of them out")
    return recipes


def _run(settings: Settings, chunks: Sequence[Chunk], recipes: Sequence[Recipe], console: Console) -> list[Failure]:
    """Work off the chunks on Dask workers; gives the failures."""
    # Dask and torch take seconds to import, and a run with nothing to do needs neither.
    from distributed import Future, KilledWorker, as_completed

    from ..shared.cluster import local_cluster, remote_cluster
    from ..shared.machine import this_machine
    from .progress import Tally, shown
    from .worker import EncoderPlugin, check_encoders, extract_chunk

    by_stream = {recipe.stream: recipe for recipe in recipes}
    check_encoders(settings.extract, {chunk.stream: by_stream[chunk.stream] for chunk in chunks})
    of_settings = settings.extract
    # The last bits of a sum depend on the number of threads: it must not change when only a chunk or two are left.
    if of_settings.scheduler is not None:
        cluster = remote_cluster(of_settings.scheduler, EncoderPlugin(of_settings, by_stream, None))
        console.print(f"{len(chunks)} chunks on the workers of {of_settings.scheduler}")
    else:
        machine = this_machine(of_settings)
        workers = min(machine.workers, len(chunks))
        if of_settings.precision == "fp16" and not machine.devices:
            console.print("warning: on a CPU fp16 is several times slower than fp32; bf16 is faster than both")
        where = f" on {len(machine.devices)} GPU{'s' * (len(machine.devices) > 1)}" if machine.devices else ""
        console.print(f"{len(chunks)} chunks on {workers} worker{'s' * (workers > 1)}{where}")
        cluster = local_cluster(workers, EncoderPlugin(of_settings, by_stream, machine))
    tally, failures = Tally(chunks), list[Failure]()
    command = " ".join(["foal", *sys.argv[1:]])
    with cluster as client, shown(tally, console) as display:

        def submit(chunk: Chunk) -> "Future[ChunkResult]":
            key = by_stream[chunk.stream].header.key
            folder = shard_folder(of_settings.features, chunk.split, chunk.modality, key)
            return client.submit(
                extract_chunk,
                chunk,
                root=settings.corpus.root.absolute(),
                shard=folder.absolute() / chunk.name,
                store=of_settings.store,
                command=command,
                key=f"{chunk.stream}-{chunk.split}-{chunk.name}",
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


def _index(settings: Settings, manifest: Sequence[Utterance], recipes: Sequence[Recipe], out: Path) -> Joined:
    """Join the manifest with the shards of this run, and with those of other streams that cover them all."""
    features, media = settings.extract.features, Media(settings.corpus.root)
    catalogs = [(recipe.modality, read_catalog(features, recipe.modality, recipe.header.key)) for recipe in recipes]
    covered = [u for u in manifest if all(catalog.find(u, modality, media) for modality, catalog in catalogs)]
    keys = {recipe.stream: recipe.header.key for recipe in recipes}
    for stream in (*MODALITIES, *settings.extract.streams):
        if stream not in keys:
            with suppress(EncoderError):
                key = present_key(settings.extract, stream)
                other = read_catalog(features, modality_of(stream), key)
                if all(other.find(utterance, modality_of(stream), media) for utterance in covered):
                    keys[stream] = key
    return write_index(out, manifest, features, dict(sorted(keys.items())), media=media)
