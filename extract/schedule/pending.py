"""What is left to extract: the manifest compared with the shards on disk and with the media."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...shared.config.settings import Settings, modality_of
from ...shared.errors import MediaError
from ...shared.files.media_lengths import MediaLengths
from ...shared.files.media_state import MediaFingerprints
from ...shared.files.unicode_names import locate
from ...shared.parallel.resources import has_gpu_driver, local_resources
from ...shared.store.catalog import SHORT_HASH_LENGTH, Catalog, read_catalog
from ...shared.text import preview_ids
from ...shared.timing import TEXT_CHARACTERS_PER_SECOND, Seconds
from ...shared.utterance import TEXT, Utterance, split_names
from ..media.probe import probe
from .failures import Failure, Quarantine
from .plan import Chunk, chunk_length, plan_chunks
from .stream_spec import StreamSpec

MAX_MANIFEST_SECONDS: Seconds = 3600.0
"""The length of a longer utterance is read from its file: a typing error in `end` must not reserve disk space."""

MANY_FILES = 1000
"""Files whose lengths are read, at about a millisecond each, from which on the run announces it."""

TEXT_CHUNK_SECONDS: Seconds = 3600.0
"""Text per chunk, at least: about a thousand utterances, which a base model encodes within a minute."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Pending:
    """The state of the features folder at the start of a run.

    `chunks` are left to do, longest first; `known_failures` failed before and are not retried; `damaged` are damaged
    shards with their modality and config hash; `catalogs` holds, by stream, the shards of the run's splits; `media` are
    the fingerprints of the media that were compared; `lengths` were read from them, to be remembered after the run.
    """

    chunks: list[Chunk]
    known_failures: list[Failure]
    damaged: dict[Path, tuple[str, str]]
    catalogs: dict[str, Catalog]
    media: MediaFingerprints
    lengths: MediaLengths


def pending_chunks(
    settings: Settings,
    utterances: list[Utterance],
    specs: Sequence[StreamSpec],
    quarantine: Quarantine | None = None,
) -> Pending:
    """Compare the utterances with the shards on disk, and plan what is left to extract.

    Args:
        settings: where corpus and features are, and how long a chunk is.
        utterances: the utterances of this run.
        specs: the streams of this run.
        quarantine: failures of earlier runs, which are not retried; None: retry them.

    Returns:
        The chunks, the longest first so that no worker is left with a long one at the end, and what was read.

    Raises:
        FutureError: a shard was written by a newer version of foal.
    """
    left: dict[str, list[Utterance]] = {}
    known_failures: list[Failure] = []
    damaged: dict[Path, tuple[str, str]] = {}
    catalogs: dict[str, Catalog] = {}
    media = MediaFingerprints(settings.corpus.root, settings.extract.features_dir)
    for spec in specs:
        catalog = catalogs[spec.stream] = read_catalog(
            settings.extract.features_dir,
            spec.modality,
            spec.config_hash,
            split_names(utterances),
            verify=settings.extract.verify,
        )
        for path, reason in catalog.damaged.items():
            log.warning(f"{path}: {reason}; its utterances are extracted again")
            damaged[path] = spec.modality, spec.config_hash
        rows = catalog.match(utterances, spec.modality, media)
        missing = [utterances[row] for row in np.flatnonzero(rows < 0).tolist()]
        failed: dict[str, Failure] = {}
        if quarantine is not None:
            for utterance in missing:
                failure = quarantine.known_failure(utterance, spec)
                if failure is not None:
                    failed[utterance.id] = failure
        known_failures += failed.values()
        left[spec.stream] = [utterance for utterance in missing if utterance.id not in failed]
        log.info(
            f"{spec.stream} ({spec.modality}-{spec.config_hash[:SHORT_HASH_LENGTH]}): "
            f"{len(utterances) - len(missing)} of {len(utterances)} utterances already extracted"
            + (f", {len(failed)} failed before (--retry-failed retries them)" if failed else "")
        )
        if quarantine is not None:
            _log_retries(left[spec.stream], spec, quarantine)
    media.remember()
    lengths = MediaLengths(settings.extract.features_dir)
    chunks = sorted(_plan(settings, left, specs, media, lengths), key=lambda chunk: -chunk.seconds)
    return Pending(
        chunks=chunks, known_failures=known_failures, damaged=damaged, catalogs=catalogs, media=media, lengths=lengths
    )


def _log_retries(left: Sequence[Utterance], spec: StreamSpec, quarantine: Quarantine) -> None:
    """Say which of the utterances that are left failed before, and why they are tried again."""
    reasons: dict[str, list[str]] = {}
    for utterance in left:
        if reason := quarantine.retry_reason(utterance, spec):
            reasons.setdefault(reason, []).append(utterance.id)
    for reason, ids in reasons.items():
        log.info(f"{spec.stream}: {preview_ids(ids)} failed before and will be tried again: {reason}")


def _plan(
    settings: Settings,
    left: Mapping[str, Sequence[Utterance]],
    specs: Sequence[StreamSpec],
    media: MediaFingerprints,
    remembered: MediaLengths,
) -> Iterator[Chunk]:
    """The chunks of each stream; no media file is opened for text."""
    with_media = {
        utterance.id: utterance
        for stream, members in left.items()
        for utterance in members
        if modality_of(stream) != TEXT
    }
    lengths = _lengths(settings, with_media.values(), media, remembered)
    setting = settings.extract.chunk_seconds
    gpu_workers = _gpu_workers(settings) if with_media and not setting else 0
    for spec in specs:
        members = left[spec.stream]
        if spec.modality == TEXT:
            spoken = {utterance.id: reading_seconds(utterance) for utterance in members}
            seconds = max(TEXT_CHUNK_SECONDS, setting)
            yield from plan_chunks(members, spec.stream, spoken, chunk_seconds=seconds, context=spec.context)
        else:
            total = sum(lengths[utterance.id] for utterance in members)
            seconds = chunk_length(total, setting=setting, layers=spec.stored_layers, gpu_workers=gpu_workers)
            yield from plan_chunks(members, spec.stream, lengths, chunk_seconds=seconds)


def _gpu_workers(settings: Settings) -> int:
    """The number of workers on this machine that have GPUs; 0 if there are none, or if a scheduler has the workers."""
    if settings.cluster.scheduler is not None or not has_gpu_driver():
        return 0
    resources = local_resources(settings.cluster)
    return resources.workers if resources.devices else 0


def reading_seconds(utterance: Utterance) -> Seconds:
    """About how long it takes to read a transcript aloud: the size of text in chunks, deadlines and progress."""
    return len(utterance.transcript) / TEXT_CHARACTERS_PER_SECOND


def _lengths(
    settings: Settings, utterances: Iterable[Utterance], media: MediaFingerprints, remembered: MediaLengths
) -> dict[str, Seconds]:
    """Seconds of each utterance, by id: from the manifest or, without a plausible `end`, from the file's header.

    A file whose header declares no duration counts as 0 seconds. Each file is opened once, and not again by later runs
    while its size and time stay the same.
    """
    lengths: dict[str, Seconds] = {}
    unknown: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        seconds = utterance.seconds
        if seconds is not None and seconds < MAX_MANIFEST_SECONDS:
            lengths[utterance.id] = seconds
        else:
            unknown.setdefault(utterance.video or utterance.audio, []).append(utterance)
    known = {path: remembered.find(path, media.fingerprint(path)) for path in unknown}
    if (count := list(known.values()).count(None)) >= MANY_FILES:
        log.info(f"reading the lengths of {count} media files, because the manifest has no `end` for them")
    for path, members in unknown.items():
        whole = known[path]
        if whole is None:
            whole = 0.0
            with suppress(MediaError):
                whole = probe(locate(settings.corpus.root, path)).seconds or 0.0
            remembered.add(path, media.fingerprint(path), whole)
        for utterance in members:
            lengths[utterance.id] = max(0.0, min(whole, utterance.end or whole) - (utterance.start or 0.0))
    remembered.remember()
    return lengths
