"""The spine of `foal extract`: from a manifest and media on disk to shards and feats.h5."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from ..shared.cli.console import get_console
from ..shared.cli.options import comma_list
from ..shared.config.settings import MODALITIES, Settings, modality_of
from ..shared.errors import EncoderError, FoalError, UsageError
from ..shared.files.atomic import check_disk_space, remove, remove_stale_temporaries
from ..shared.files.fingerprint import media_fingerprint
from ..shared.files.lock import features_lock
from ..shared.manifest import check_inside, read_manifest
from ..shared.store.catalog import MediaFingerprints, read_catalog, shard_folder
from ..shared.store.index_writer import IndexResult, check_index, write_index
from ..shared.text import preview_ids
from ..shared.timing import Seconds
from ..shared.utterance import Utterance, select_splits, splits_of
from .maintenance.stale import is_deletable_corrupt_shard
from .schedule.failures import ChunkResult, Failure, Quarantine
from .schedule.pending import Pending, pending_chunks
from .schedule.plan import Chunk
from .schedule.stream_spec import Recipe, present_key, recipe
from .schedule.summary import outcome, report_failures, report_index, report_outcome

QUARANTINED_EXIT = 3

LEAST_SILENCE: Seconds = 60.0
"""So long a worker may give no sign of life."""


def extract(
    settings: Settings,
    splits: Sequence[str],
    *,
    index: Path | None,
    dry_run: bool = False,
    retry_failed: bool = False,
    break_lock: bool = False,
) -> int:
    """Extract what is missing of the given splits and index it; gives the exit code (0, or 3 with failures).

    Raises FoalError: nothing that was finished before is lost, and the same command goes on from there.
    """
    console = get_console()
    features = settings.extract.features_dir
    manifest = read_manifest(settings.corpus.manifest)
    utterances = select_splits(manifest, _separate(splits, manifest))
    if not settings.corpus.allow_outside:
        check_inside(utterances, settings.corpus.root, settings.corpus.manifest)
    if index is not None:
        check_index(index, features)
    recipes = _recipes(settings, utterances)
    quarantine = Quarantine(settings, utterances)
    if dry_run:
        pending = pending_chunks(settings, utterances, recipes, console, None if retry_failed else quarantine)
        if _something_left(settings, pending, console):
            from .schedule.estimate import estimate

            console.print(estimate(settings, pending.chunks, recipes))
        return 0
    with features_lock(features, break_lock=break_lock) as word:
        if word:
            console.print(word)
        remove_stale_temporaries(features, index)
        pending = pending_chunks(settings, utterances, recipes, console, None if retry_failed else quarantine)
        stamps = {path: media_fingerprint(path) for path in pending.damaged}
        failures, keys = list(pending.standing), {recipe.stream: recipe.header.config_hash for recipe in recipes}
        try:
            _check_failures(settings, failures, len(utterances))
            if _something_left(settings, pending, console):
                _run(settings, pending.chunks, recipes, console, quarantine, failures, len(utterances))
        except BaseException:
            # What has failed until then will not do better next time; the disk may be full, though.
            with suppress(FoalError, OSError):
                quarantine.write(utterances, failures, keys, ended=False)
            raise
        finally:
            remove_stale_temporaries(features)
        quarantine.write(utterances, failures, keys)
        for path, (modality, key) in pending.damaged.items():
            if media_fingerprint(path) == stamps[path] and is_deletable_corrupt_shard(path, modality, key):
                remove(path)
                console.print(f"{path}: removed; its utterances were extracted again, into other shards")
        _report(settings, utterances, recipes, failures, console)
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
    for stream in dict.fromkeys(settings.extract.streams):
        modality = modality_of(stream)
        if not any(utterance.media(modality) for utterance in utterances):
            column = "video" if modality == "face" else "audio"
            others = [name for name in settings.extract.streams if modality_of(name) != modality]
            raise UsageError(
                f"{settings.corpus.manifest}: {stream} features need the column {column}, which is empty in all "
                f"{len(utterances)} rows; extract with --streams {','.join(others) or '(another)'}"
            )
        recipes.append(recipe(settings.extract, stream))
        for other in recipes[:-1]:
            if other.header.config_hash == recipes[-1].header.config_hash:
                raise UsageError(f"{stream} and {other.stream} are the same features; leave one of them out")
    return recipes


def _something_left(settings: Settings, pending: Pending, console: Console) -> bool:
    """Whether there is; says so if there is not. Raises UsageError if there is, but no corpus root."""
    if not pending.chunks:
        console.print("nothing is left to do")
    elif not settings.corpus.root.is_dir():
        raise UsageError(
            f"{settings.corpus.root}: expected the corpus root (--root, key corpus.root) that the paths of "
            f"{settings.corpus.manifest} start from, got no such folder"
        )
    return bool(pending.chunks)


def _run(
    settings: Settings,
    chunks: Sequence[Chunk],
    recipes: Sequence[Recipe],
    console: Console,
    quarantine: Quarantine,
    failures: list[Failure],
    utterances: int,
) -> None:
    """Work off the chunks on Dask workers, and append what failed to `failures`."""
    # Dask and torch take seconds to import, and a run with nothing to do needs neither.
    from distributed import Future

    from ..shared.parallel.cluster import local_cluster, remote_cluster
    from ..shared.parallel.resources import local_resources
    from .schedule.dispatch import Dispatch
    from .schedule.progress import ProgressCounter, progress_display
    from .schedule.worker import EncoderPlugin, check_encoders, extract_chunk

    by_stream = {recipe.stream: recipe for recipe in recipes}
    of_settings = settings.extract
    sizes = check_encoders(of_settings, {chunk.stream: by_stream[chunk.stream] for chunk in chunks})
    if of_settings.check_disk_space:
        check_disk_space(of_settings.features_dir, sum(chunk.seconds * sizes[chunk.stream] for chunk in chunks))
    # The last bits of a sum depend on the number of threads: it must not change when only a chunk or two are left.
    if settings.cluster.scheduler is not None:
        plugin = EncoderPlugin(settings, by_stream, None)
        cluster = remote_cluster(settings.cluster.scheduler, plugin)
        said = f"{len(chunks)} chunks on the workers of {settings.cluster.scheduler}"
    else:
        machine = local_resources(settings.cluster, decode_threads=of_settings.decode_threads)
        workers = min(machine.workers, len(chunks))
        if of_settings.precision == "fp16" and not machine.devices:
            console.print("warning: on a CPU fp16 is several times slower than fp32; bf16 is faster than both")
        where = f" on {len(machine.devices)} GPU{'s' * (len(machine.devices) > 1)}" if machine.devices else ""
        said = f"{len(chunks)} chunks on {workers} worker{'s' * (workers > 1)}{where}"
        plugin = EncoderPlugin(settings, by_stream, machine)
        # A worker that imports says nothing for a while.
        cluster = local_cluster(workers, plugin, silence=max(LEAST_SILENCE, of_settings.task_timeout))
    counter = ProgressCounter(chunks)
    command = " ".join(["foal", *sys.argv[1:]])
    with cluster as client, progress_display(counter) as display:
        console.print(said)

        def submit(chunk: Chunk, key: str) -> "Future[ChunkResult]":
            header = by_stream[chunk.stream].header
            folder = shard_folder(of_settings.features_dir, chunk.split, chunk.modality, header.config_hash)
            return client.submit(
                extract_chunk,
                chunk,
                plugin=plugin.name,
                root=settings.corpus.root.absolute(),
                shard=folder.absolute() / chunk.name,
                store=of_settings.dtype,
                command=command,
                key=key,
                priority=chunk.seconds,
            )

        def what_now(chunk: Chunk) -> str:
            return quarantine.fingerprint(chunk.utterances[0].media(chunk.modality))

        dispatch = Dispatch(client, submit, name=plugin.name, patience=of_settings.task_timeout, fingerprint=what_now)
        for result in dispatch.results(chunks):
            failures += result.failures
            counter.add(result)
            display.advance()
            _check_failures(settings, failures, utterances)


def _check_failures(settings: Settings, failures: Sequence[Failure], utterances: int) -> None:
    """Raise FoalError if more utterances failed than the settings allow."""
    failed = {failure.id for failure in failures}
    if len(failed) > settings.extract.failures_allowed(utterances):
        raise FoalError(
            f"{len(failed)} of {utterances} utterances failed, more than --max-failures {settings.extract.max_failures}"
            f" allows, so the run was ended; the last: {failures[-1].id}: {failures[-1].reason}\n"
            "finished shards stay; the failures.csv of each split names all that failed, with remedies"
        )


def _report(
    settings: Settings,
    utterances: list[Utterance],
    recipes: Sequence[Recipe],
    failures: Sequence[Failure],
    console: Console,
) -> None:
    """Say what there is now. Raises FoalError if all failed, or if features are gone that there should be."""
    found = outcome(settings, utterances, recipes)
    report_outcome(found, console)
    report_failures(failures, console)
    if len({failure.id for failure in failures}) == len(utterances):
        raise FoalError(f"none of the {len(utterances)} utterances could be extracted: {failures[0].reason}")
    known = {(failure.id, failure.stream) for failure in failures}
    if gone := [name for name, stream in found.missing if (name, stream) not in known]:
        raise FoalError(
            f"{settings.extract.features_dir}: expected the features of all utterances now, but those of "
            f"{preview_ids(list(dict.fromkeys(gone)))} are not there; folder or media were changed during the run: "
            "run the same command again"
        )


def _index(settings: Settings, manifest: Sequence[Utterance], recipes: Sequence[Recipe], out: Path) -> IndexResult:
    """Join the manifest with the shards of this run, and with those of other streams that cover them all."""
    features, media = settings.extract.features_dir, MediaFingerprints(settings.corpus.root)
    catalogs = [
        (recipe.modality, read_catalog(features, recipe.modality, recipe.header.config_hash)) for recipe in recipes
    ]
    covered = [u for u in manifest if all(catalog.find(u, modality, media) for modality, catalog in catalogs)]
    keys = {recipe.stream: recipe.header.config_hash for recipe in recipes}
    for stream in (*MODALITIES, *settings.extract.encoders):
        if stream not in keys:
            with suppress(EncoderError):
                key = present_key(settings.extract, stream)
                other = read_catalog(features, modality_of(stream), key)
                if all(other.find(utterance, modality_of(stream), media) for utterance in covered):
                    keys[stream] = key
    return write_index(out, manifest, features, dict(sorted(keys.items())), media=media)
