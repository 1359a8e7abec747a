"""The main flow of `foal extract`: from a manifest and media files to feature shards and feats.h5.

    1  select       manifest -> utterances of the sessions, streams -> specs       _build_specs
    2  compare      utterances - shards on disk - known failures = chunks          pending_chunks
    3  prepare      load each encoder once, check disk space, start workers        _start_workers
    4  run          chunks -> shards, one task each, on Dask workers               Dispatch, extract_chunk
    5  record       failures.csv, remove damaged shards that were replaced         Quarantine.write
    6  summarize    table of what exists now; an error if something is missing     summarize
    7  index        manifest + shards -> feats.h5                                  index_streams

The rows of shards are read once: step 2 reads catalogs, from stored tables as far as shards have not changed since,
step 4 adds the new shards, step 6 stores the tables, and steps 6 and 7 use the catalogs.

    foal extract --split session1                              one session, on this machine
    foal extract --split all --dry-run                         sizes and times only
    foal extract --split all --streams audio -j 4              one stream, four workers
    foal extract --split all --scheduler tcp://HOST:8786       on the workers of a running Dask scheduler
    foal extract --split all --retry-failed                    including what failed before
    foal extract --split all --part 2/4                        a quarter, beside the other three; then `foal index`

A part reads and writes like a whole run, but only its own files: no index, and no file that another part may write.
"""

import gc
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ..shared.cli.console import get_console
from ..shared.cli.options import comma_list
from ..shared.config.settings import Settings, modality_of
from ..shared.errors import FoalError, UsageError
from ..shared.files.atomic import remove, remove_stale_temporaries
from ..shared.files.corpus_root import check_corpus_root
from ..shared.files.fingerprint import media_fingerprint
from ..shared.files.lock import features_lock
from ..shared.files.media_state import MediaFingerprints
from ..shared.files.part import Part, part_name
from ..shared.manifest import check_inside, check_media, read_manifest
from ..shared.parallel.collection import paused_collection
from ..shared.parallel.fork_server import start_fork_server
from ..shared.seen_corpora import seen_corpora_json, seen_corpus_warnings
from ..shared.store.catalog import read_shards, store_catalog
from ..shared.store.index_writer import check_index
from ..shared.text import counted, preview_ids
from ..shared.utterance import TEXT, Utterance, select_splits, split_names
from .indexing import index_streams
from .maintenance.stale import is_deletable_corrupt_shard
from .schedule.failures import FAILURES_NAME, Failure, Quarantine, check_failure_limit
from .schedule.libraries import libraries_of
from .schedule.pending import Pending, pending_chunks
from .schedule.plan import Chunk, in_part
from .schedule.stream_spec import StreamSpec, build_stream_spec
from .schedule.summary import (
    ExtractResult,
    Summary,
    print_failures,
    print_index_result,
    print_summary,
    stream_warnings,
    summarize,
)

FAILURES_EXIT_CODE = 3

COLUMN_OF = {"audio": "audio", "face": "video", "text": "transcript"}
"""Column of the manifest that features of a modality come from."""

log = logging.getLogger(__name__)


def extract(
    settings: Settings,
    splits: Sequence[str],
    *,
    index: Path | None,
    part: Part | None = None,
    dry_run: bool = False,
    retry_failed: bool = False,
    break_lock: bool = False,
    force: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ExtractResult:
    """Extract the missing features of some sessions and index them.

    Args:
        settings: all settings of the run.
        splits: sessions or corpora to extract; "all" for all.
        index: the feats.h5 to write; None: only the shards, as for every part.
        part: extract only this part of the utterances; other parts may run at the same time.
        dry_run: only report what would be extracted.
        retry_failed: retry failed utterances even if nothing changed.
        break_lock: take over the features folder from a run on another machine that is known to have ended.
        force: replace a file at `index` that is not a feats.h5.
        progress: called with the number of finished utterances and of all that had features missing.

    Returns:
        What was done; its exit code is 0, or 3 if utterances failed.

    Raises:
        FoalError: the run cannot start or was ended. Finished shards stay, and the next run resumes.
    """
    began = time.monotonic()
    features = settings.extract.features_dir

    # 1. Select the utterances and describe the streams.
    with paused_collection():
        manifest = read_manifest(settings.corpus.manifest)
        # They stay until the end: the garbage collector need not look through a million of them again and again.
        gc.freeze()
    utterances = select_splits(manifest, _expand_splits(splits, manifest))
    check_media(utterances, settings.corpus.manifest)
    if not settings.corpus.allow_outside:
        check_inside(utterances, settings.corpus.root, settings.corpus.manifest)
    if index is not None:
        check_index(index, features, force=force)
    specs = _build_specs(settings, utterances)
    config_hashes = {spec.stream: spec.config_hash for spec in specs}
    seen = {spec.stream: seen_corpora_json([spec.weights.name], spec.weights.digest) for spec in specs}
    for warning in seen_corpus_warnings(seen, (utterance.corpus for utterance in utterances)):
        log.warning(warning)
    if part is not None:
        total = len(utterances)
        utterances = [utterance for utterance in utterances if in_part(utterance, part)]
        log.info(f"part {part} holds {len(utterances)} of {counted(total, 'utterance')}")

    def result(failures: Sequence[Failure], chunks: Sequence[Chunk], *, index: Path | None) -> ExtractResult:
        failed = {failure.id for failure in failures}
        planned = {utterance.id for chunk in chunks for utterance in chunk.utterances} - failed
        return ExtractResult(
            exit_code=FAILURES_EXIT_CODE if failures and not dry_run else 0,
            splits=tuple(split_names(utterances)),
            streams=tuple(config_hashes),
            utterances=len(utterances),
            extracted=0 if dry_run else len(planned),
            skipped=len(utterances) - len(planned) - len(failed),
            failed=len(failed),
            pending=len(planned) if dry_run else 0,
            index=None if index is None else str(index),
            seconds=time.monotonic() - began,
            dry_run=dry_run,
            part=None if part is None else str(part),
        )

    if not utterances:
        return result([], [], index=None)
    if dry_run:
        quarantine = Quarantine(settings, utterances, part)
        pending = pending_chunks(settings, utterances, specs, None if retry_failed else quarantine)
        if _has_pending_work(settings, pending, utterances, specs):
            from .schedule.estimate import estimate

            get_console().print(estimate(settings, pending.chunks, specs))
        for warning in stream_warnings(utterances, specs):
            log.warning(warning)
        return result(pending.known_failures, pending.chunks, index=None)

    with features_lock(features, part=part, break_lock=break_lock) as taken_over:
        if taken_over:
            log.info(taken_over)

        # 2. Compare them with the shards on disk.
        quarantine = Quarantine(settings, utterances, part)
        pending = pending_chunks(settings, utterances, specs, None if retry_failed else quarantine)
        own = None if part is None else {part_name(FAILURES_NAME, part), *(chunk.name for chunk in pending.chunks)}
        remove_stale_temporaries(features, index, names=own, locked=True)
        catalogs = pending.catalogs
        # A part leaves damaged shards alone, because their utterances may be in another part.
        damaged = {path: media_fingerprint(path) for path in pending.damaged if part is None}
        failures = list(pending.known_failures)

        # 3. and 4. Run what is left.
        media = pending.media
        try:
            check_failure_limit(settings, failures, len(utterances))
            if _has_pending_work(settings, pending, utterances, specs):
                if settings.cluster.scheduler is None:
                    streams = {chunk.stream for chunk in pending.chunks}
                    libraries = libraries_of(spec for spec in specs if spec.stream in streams)
                    start_fork_server([*libraries, f"{__package__}.schedule.chunk", f"{__package__}.schedule.worker"])
                # Dask takes a second to import, which a run with nothing to do does not need.
                from .schedule.execute import run_chunks

                written = run_chunks(settings, pending.chunks, specs, quarantine, failures, len(utterances), progress)
                for spec in specs:
                    new = read_shards(written[spec.stream], spec.modality, spec.config_hash, verified=True)
                    catalogs[spec.stream].update(new)
                # Media may have changed during the run.
                media = MediaFingerprints(settings.corpus.root, features)
        except BaseException:
            # Record the failures of a stopped run, too: they would recur. The disk may be full, though.
            with suppress(FoalError, OSError):
                quarantine.write(failures, config_hashes, completed=False)
            raise
        finally:
            remove_stale_temporaries(features, names=own, locked=True)
            pending.lengths.remember()

        # 5. Record the failures, and remove damaged shards whose utterances are in other shards now.
        quarantine.write(failures, config_hashes)
        for path, stamp in damaged.items():
            if media_fingerprint(path) == stamp and is_deletable_corrupt_shard(path, *pending.damaged[path]):
                remove(path)
                for catalog in catalogs.values():
                    catalog.discard([path])
                log.info(f"{path}: removed; its utterances were extracted again into other shards")

        # 6. Summarize what exists now.
        for catalog in catalogs.values():
            catalog.discard([path for path in catalog.shards if not path.exists()])
            store_catalog(catalog)
        summary = summarize(utterances, specs, catalogs, media)
        print_summary(summary)
        print_failures(failures)
        _check_complete(settings, utterances, summary, failures)

        # 7. Index it.
        if index is not None:
            print_index_result(
                index_streams(settings, manifest, utterances, specs, catalogs, media, index, force=force)
            )
        elif part is not None:
            log.info(f"part {part} is finished; after the last part, `foal index` writes feats.h5 and failures.csv")
    return result(failures, pending.chunks, index=index)


def _expand_splits(splits: Sequence[str], manifest: Sequence[Utterance]) -> list[str]:
    """Split `a,b` into two names, unless a session has that name."""
    known = split_names(manifest)
    return [name for text in splits for name in ([text] if text in known else comma_list(text) or [])]


def _build_specs(settings: Settings, utterances: Sequence[Utterance]) -> list[StreamSpec]:
    """The specs of the streams. Raises UsageError if two are equal or the manifest has no media for one."""
    specs: list[StreamSpec] = []
    for stream in dict.fromkeys(settings.extract.streams):
        modality = modality_of(stream)
        if not any(utterance.has(modality) for utterance in utterances):
            column = COLUMN_OF[modality]
            others = [name for name in settings.extract.streams if modality_of(name) != modality]
            raise UsageError(
                f"{settings.corpus.manifest}: {stream} features need the column {column}, which is empty in all "
                f"{len(utterances)} rows; extract with --streams {','.join(others) or '(another)'}"
            )
        spec = build_stream_spec(settings.extract, stream)
        if spec.context and not any(utterance.previous for utterance in utterances):
            raise UsageError(
                f"{settings.corpus.manifest}: {stream} reads {counted(spec.context, 'previous turn')}, which needs the "
                "columns dialog and turn, but no row has an earlier turn of its dialog; set extract.text.context to 0"
            )
        for other in specs:
            if other.config_hash == spec.config_hash:
                raise UsageError(f"{stream} and {other.stream} are the same features; leave one of them out")
        specs.append(spec)
    return specs


def _has_pending_work(
    settings: Settings, pending: Pending, utterances: Sequence[Utterance], specs: Sequence[StreamSpec]
) -> bool:
    """Whether there are chunks to run. Raises UsageError if there are, but the corpus root is wrong."""
    if pending.chunks:
        if any(modality_of(chunk.stream) != TEXT for chunk in pending.chunks):
            media = (utterance.media(spec.modality) for utterance in utterances for spec in specs)
            check_corpus_root(settings.corpus.root, media, settings.corpus.manifest)
        return True
    failed = {failure.id for failure in pending.known_failures}
    if failed:
        log.info(
            f"Nothing is left to extract but {preview_ids(sorted(failed))}, which failed before. They are tried again "
            "once their files change, under another --root that has them, or with --retry-failed."
        )
    else:
        log.info("All features are up to date.")
    return False


def _check_complete(
    settings: Settings, utterances: Sequence[Utterance], summary: Summary, failures: Sequence[Failure]
) -> None:
    """Raise FoalError if all utterances failed, or if features are missing that did not fail."""
    if len({failure.id for failure in failures}) == len(utterances):
        raise FoalError(f"none of the {len(utterances)} utterances could be extracted: {failures[0].reason}")
    failed = {(failure.id, failure.stream) for failure in failures}
    missing = [utterance_id for utterance_id, stream in summary.missing if (utterance_id, stream) not in failed]
    if missing:
        raise FoalError(
            f"{settings.extract.features_dir}: expected the features of all utterances, but those of "
            f"{preview_ids(list(dict.fromkeys(missing)))} are missing, because the folder or the media changed during "
            "the run; run the same command again"
        )
