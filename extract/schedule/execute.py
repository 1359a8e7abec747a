"""Run the chunks of an extraction: start the workers, check the encoders, dispatch one Dask task per chunk."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from distributed import Client, Future, KilledWorker, wait

from ...shared.config.settings import Settings
from ...shared.errors import EncoderError
from ...shared.files.atomic import check_disk_space
from ...shared.parallel.cluster import open_cluster
from ...shared.parallel.resources import local_resources
from ...shared.parallel.waiting import WorkerWatch
from ...shared.store.catalog import shard_folder
from ...shared.timing import Seconds
from .dispatch import POLL_SECONDS, Dispatch
from .failures import ChunkResult, Failure, Quarantine, check_failure_limit
from .plan import Chunk
from .progress import ProgressCounter, progress_display
from .stream_spec import StreamSpec, memory_needed
from .worker import EncoderPlugin, check_encoders, extract_chunk

CHECK_PRIORITY = 1 << 30
"""Priority of the check of the encoders; those of chunks are their seconds."""

MIN_HEARTBEAT_TIMEOUT: Seconds = 60.0
"""A worker without a heartbeat for this long, or for extract.task_timeout if that is longer, counts as dead."""

log = logging.getLogger(__name__)


def run_chunks(
    settings: Settings,
    chunks: Sequence[Chunk],
    specs: Sequence[StreamSpec],
    quarantine: Quarantine,
    failures: list[Failure],
    utterance_count: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, list[Path]]:
    """Run the chunks on Dask workers.

    Args:
        settings: the settings of the run.
        chunks: what is left to extract.
        specs: the streams of the run.
        quarantine: gives the current fingerprints of files.
        failures: what failed before; failures of this run are appended as they occur.
        utterance_count: utterances of the run, of which extract.max_failures may fail.
        progress: called with the number of finished utterances and of all with a chunk.

    Returns:
        The shards that were written, by stream.

    Raises:
        FoalError: too many failures, a full disk, an encoder that cannot be loaded, or no workers.
    """
    by_stream = {spec.stream: spec for spec in specs}
    # Workers import only what these need.
    pending = {chunk.stream: by_stream[chunk.stream] for chunk in chunks}

    def shard_path(chunk: Chunk) -> Path:
        config_hash = by_stream[chunk.stream].config_hash
        return shard_folder(settings.extract.features_dir, chunk.split, chunk.modality, config_hash) / chunk.name

    counter = ProgressCounter(chunks)
    written: dict[str, list[Path]] = {stream: [] for stream in by_stream}
    with _start_workers(settings, pending, len(chunks)) as (client, plugin, workers):
        watch = _watch(settings, client, pending)
        dispatch = _dispatch(settings, chunks, client, watch, plugin, shard_path, quarantine)
        sizes = _check_encoders(client, plugin, watch, dispatch, pending)
        if settings.extract.check_disk_space:
            size = sum(chunk.seconds * sizes[chunk.stream] for chunk in chunks)
            check_disk_space(settings.extract.features_dir, size)
        log.info(f"{len(chunks)} chunks on {workers}")
        with progress_display(counter) as display:
            for chunk, result in dispatch.results():
                failures += result.failures
                path = shard_path(chunk)
                if path.exists():
                    written[chunk.stream].append(path)
                counter.add(chunk, result)
                display.advance()
                progress(counter.done, counter.total)
                check_failure_limit(settings, failures, utterance_count)
    return written


def _check_encoders(
    client: Client, plugin: EncoderPlugin, watch: WorkerWatch, dispatch: Dispatch, specs: Mapping[str, StreamSpec]
) -> dict[str, float]:
    """Load the encoders on one worker; return the bytes of features per second of media, by stream.

    While there are no workers, the first chunks are submitted too: clusters with queues start workers for tasks.
    """
    check = client.submit(check_encoders, sorted(specs), plugin_name=plugin.name, pure=False, priority=CHECK_PRIORITY)
    while not check.done():
        watch.poll()
        if not watch.running:
            dispatch.fill()
        with suppress(TimeoutError):
            wait(check, timeout=POLL_SECONDS)
    try:
        sizes: dict[str, float] = check.result()
    except KilledWorker:
        raise EncoderError(
            f"{', '.join(specs)}: the worker processes that loaded the encoders died, probably for lack of memory; "
            f"they need about {memory_needed(specs.values()) / 1e9:.1f} GB each; free memory, or use a smaller encoder"
        ) from None
    return sizes


@contextmanager
def _start_workers(
    settings: Settings, specs: Mapping[str, StreamSpec], chunk_count: int
) -> Iterator[tuple[Client, EncoderPlugin, str]]:
    """Workers on this machine, or those of a running scheduler: the client, the plugin and a description."""
    if settings.cluster.scheduler is not None:
        workers = 0
        plugin = EncoderPlugin(settings, specs, None)
        description = f"the workers of {settings.cluster.scheduler}"
    else:
        # The threads of a worker follow the configured number of workers, not the number in use: the last bits of a
        # sum depend on them, and must not change when only a chunk or two are left.
        resources = local_resources(settings.cluster, decode_threads=settings.extract.decode_threads)
        workers = min(resources.workers, chunk_count)
        gpus = len(resources.devices)
        if settings.extract.precision == "fp16" and not gpus:
            log.warning("on a CPU fp16 is several times slower than fp32; bf16 is faster than both")
        plugin = EncoderPlugin(settings, specs, resources)
        where = f" on {gpus} GPU{'s' * (gpus > 1)}" if gpus else ""
        description = f"{workers} worker{'s' * (workers > 1)}{where}"
    # A worker sends no heartbeat while it imports libraries.
    heartbeat_timeout = max(MIN_HEARTBEAT_TIMEOUT, settings.extract.task_timeout)
    with open_cluster(settings.cluster, plugin, workers=workers, heartbeat_timeout=heartbeat_timeout) as client:
        yield client, plugin, description


def _watch(settings: Settings, client: Client, specs: Mapping[str, StreamSpec]) -> WorkerWatch:
    """The watch over the workers: those on this machine are replaced at once when they die."""
    if settings.cluster.scheduler is None:
        return WorkerWatch(client, max_wait=max(MIN_HEARTBEAT_TIMEOUT, settings.extract.task_timeout))
    return WorkerWatch(client, max_wait=settings.cluster.wait_seconds(), memory=memory_needed(specs.values()))


def _dispatch(
    settings: Settings,
    chunks: Sequence[Chunk],
    client: Client,
    watch: WorkerWatch,
    plugin: EncoderPlugin,
    shard_path: Callable[[Chunk], Path],
    quarantine: Quarantine,
) -> Dispatch:
    """The dispatch of this run: how a chunk becomes a Dask task."""
    root = settings.corpus.root.absolute()
    command = " ".join(["foal", *sys.argv[1:]])

    def submit(chunk: Chunk, key: str) -> "Future[ChunkResult]":
        return client.submit(
            extract_chunk,
            chunk,
            plugin_name=plugin.name,
            root=root,
            shard=shard_path(chunk).absolute(),
            command=command,
            key=key,
            priority=chunk.seconds,
        )

    def current_fingerprint(chunk: Chunk) -> str:
        return quarantine.fingerprint(chunk.utterances[0].media(chunk.modality))

    return Dispatch(
        chunks,
        client,
        submit,
        watch,
        name=plugin.name,
        timeout=settings.extract.task_timeout,
        fingerprint=current_fingerprint,
    )
