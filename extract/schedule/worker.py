"""Code that runs in a Dask worker: load each encoder once, and extract one chunk of utterances into one shard."""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from distributed import Worker, get_worker

from ...shared.config.settings import AudioSettings, ExtractSettings, FaceSettings, Settings
from ...shared.errors import FoalError, MediaError, StoreError
from ...shared.parallel.cluster import NamedPlugin, unique_name
from ...shared.parallel.resources import Resources, pin_gpu
from ...shared.store.shard import ShardReader, ShardWriter, verify_shard
from ...shared.timing import AUDIO_RATE_HZ
from ...shared.utterance import Utterance
from ..audio.encoder import AudioEncoder
from ..audio.loading import load_audio_encoder
from ..audio.pipeline import audio_entries
from ..face.batching import FaceExtractor
from ..face.facenet import build_face_extractor
from ..face.pipeline import face_entries
from ..media.media_group import MediaGroup, Results, as_media_error, fingerprint_of
from ..media.video_reader import Backend, DecodeFallbackError
from .failures import CHANGED, REMEDY_MEDIA, REMEDY_VALUES, ChunkResult, Failure, build_failure
from .plan import Chunk, group_by_media
from .stream_spec import StreamSpec

TASK_STARTED = "foal-task-started"
"""Topic of the events with which workers report the task that they start; its deadline counts from there."""


class Encoders:
    """The encoders of some streams on one device; each is loaded at its first use and then kept."""

    def __init__(self, settings: ExtractSettings, specs: Mapping[str, StreamSpec], device: torch.device) -> None:
        self._settings = settings
        self._specs = specs
        self._device = device
        self._loaded: dict[str, AudioEncoder | FaceExtractor] = {}

    def load(self, stream: str) -> AudioEncoder | FaceExtractor:
        """Load a stream's encoder. Raises EncoderError."""
        if stream not in self._loaded:
            spec = self._specs[stream]
            settings = self._settings
            if isinstance(spec.settings, AudioSettings):
                seconds = settings.batch_seconds
                if seconds is None:
                    seconds = 0.0 if self._device.type == "cpu" else 240.0
                self._loaded[stream] = load_audio_encoder(
                    spec.weights, self._device, spec.settings, precision=settings.precision, batch_seconds=seconds
                )
            else:
                assert isinstance(spec.settings, FaceSettings)
                self._loaded[stream] = build_face_extractor(
                    spec.settings,
                    spec.weights,
                    self._device,
                    precision=settings.precision,
                    batch=settings.batch_images,
                )
        return self._loaded[stream]

    def entries(self, stream: str, parts: Sequence[MediaGroup], *, decoders: int) -> Results:
        """Extract all utterances of the media files, in order. Raises DecodeFallbackError."""
        encoder = self.load(stream)
        if isinstance(encoder, AudioEncoder):
            return audio_entries(parts, encoder, decoders=decoders)
        return face_entries(parts, encoder, decoders=decoders)

    def bytes_per_second(self, stream: str) -> float:
        """Bytes of features per second of media."""
        encoder = self.load(stream)
        settings = self._specs[stream].settings
        itemsize = np.dtype(self._settings.dtype).itemsize
        if isinstance(encoder, AudioEncoder):
            return float(np.prod(encoder.frame_shape)) * AUDIO_RATE_HZ * itemsize
        assert isinstance(settings, FaceSettings)
        box_bytes = 16 if settings.region == "face" else 0
        return (encoder.encoder.width * itemsize + box_bytes + 1) * settings.fps


def check_encoders(settings: ExtractSettings, specs: Mapping[str, StreamSpec]) -> dict[str, float]:
    """Load every encoder once on the CPU, before any worker starts.

    Returns:
        Bytes of features per second of media, by stream.

    Raises:
        EncoderError: an encoder cannot be loaded.
    """
    # One after the other: they need not fit into memory together.
    return {stream: Encoders(settings, specs, torch.device("cpu")).bytes_per_second(stream) for stream in specs}


class EncoderPlugin(NamedPlugin):
    """Dask plugin that gives each worker its device, its threads and its encoders."""

    def __init__(self, settings: Settings, specs: Mapping[str, StreamSpec], resources: Resources | None) -> None:
        """`resources` describes the workers of this machine; None: external workers, which decide for themselves."""
        self.name = unique_name("foal-encoders")
        self.settings = settings.extract
        self.specs = specs
        self._resources = resources
        self._cluster = settings.cluster

    def setup(self, worker: Worker) -> None:
        """Prepare a worker; called by Dask in each."""
        self.resources = self._resources or Resources.for_external_worker(
            self._cluster, threads=worker.state.nthreads, decode_threads=self.settings.decode_threads
        )
        torch.set_num_threads(self.resources.threads)
        # Before CUDA is initialized; an external worker keeps the GPU that it was given.
        pin_gpu(self._resources, str(worker.name))
        device = torch.device("cuda" if self.resources.devices else "cpu")
        self.encoders = Encoders(self.settings, self.specs, device)
        # An external worker may run several tasks at once; its encoders serve one at a time.
        self.busy = threading.Lock()


def extract_chunk(
    chunk: Chunk, *, plugin_name: str, root: Path, shard: Path, dtype: Literal["float16", "float32"], command: str
) -> ChunkResult:
    """Extract a chunk into its shard; a media file that cannot be read costs only its own utterances.

    Args:
        chunk: the utterances, and their stream.
        plugin_name: name of the EncoderPlugin of this run.
        root: the corpus root.
        shard: the file to write.
        dtype: number format of the stored features.
        command: the command line, which the shard records.

    Returns:
        The number of frames in the shard, failures, and the time taken.

    Raises:
        FoalError: the shard cannot be written.
    """
    worker = get_worker()
    plugin = worker.plugins[plugin_name]
    assert isinstance(plugin, EncoderPlugin)
    with plugin.busy:
        frames = _frames_in_existing_shard(chunk, plugin, root=root, shard=shard)
        if frames is not None:
            return ChunkResult(chunk=chunk, frames=frames, failures=())
        # Loaded before the start is reported, because the deadline is for the media alone.
        plugin.encoders.load(chunk.stream)
        worker.log_event(TASK_STARTED, {"key": worker.get_current_task(), "worker": worker.address})
        began = time.perf_counter()
        result = _extract(chunk, plugin, root=root, shard=shard, dtype=dtype, command=command)
        return replace(result, took=time.perf_counter() - began)


def _frames_in_existing_shard(chunk: Chunk, plugin: EncoderPlugin, *, root: Path, shard: Path) -> int | None:
    """Frames in the chunk's shard if it is complete: Dask repeats a task whose worker died after finishing it."""
    if not shard.exists() or verify_shard(shard):
        return None
    with ShardReader(shard) as existing:
        present = set(zip(existing.ids, existing.sources, existing.media, strict=True))
        groups = [media_group(part, root, plugin.settings, {}) for part in group_by_media(chunk)]
        wanted = {
            (utterance.id, utterance.source(chunk.modality), group.fingerprint)
            for group in groups
            for utterance in group.utterances
        }
        current = existing.header.config_hash == plugin.specs[chunk.stream].config_hash and wanted <= present
        return int(existing.offsets[-1]) if current else None


def _extract(
    chunk: Chunk, plugin: EncoderPlugin, *, root: Path, shard: Path, dtype: Literal["float16", "float32"], command: str
) -> ChunkResult:
    """Attempt the chunk until an attempt succeeds; each starts from the beginning and leaves nothing if it fails."""
    backends: dict[Path, Backend] = {}
    isolate_files = False
    while True:
        parts = [media_group(part, root, plugin.settings, backends) for part in group_by_media(chunk)]
        groups = [[part] for part in parts] if isolate_files else [parts]
        try:
            # What is written does not depend on the attempts before.
            return _attempt(chunk, groups, plugin, shard, dtype, command, isolate_files=isolate_files)
        except DecodeFallbackError as fallback:
            backends[fallback.path] = "pyav"
        except Exception as error:
            if isolate_files or not _is_media_error(error):
                raise
            # The encoder failed in an unexpected way: encode each file on its own, so that only one is lost.
            isolate_files = True


def media_group(part: Chunk, root: Path, settings: ExtractSettings, backends: Mapping[Path, Backend]) -> MediaGroup:
    """The utterances of one media file and its fingerprint; `backends`: video readers other than the default."""
    media = part.utterances[0].media(part.modality)
    path = root / media if media else None
    # Taken before decoding: if the file changes meanwhile, the next run notices.
    fingerprint = fingerprint_of(path, settings)
    return MediaGroup(
        modality=part.modality,
        path=path,
        fingerprint=fingerprint,
        utterances=part.utterances,
        backend=backends.get(path, "auto") if path else "auto",
    )


def _attempt(
    chunk: Chunk,
    groups: Sequence[Sequence[MediaGroup]],
    plugin: EncoderPlugin,
    shard: Path,
    dtype: Literal["float16", "float32"],
    command: str,
    *,
    isolate_files: bool,
) -> ChunkResult:
    """Extract the media files, those of a group in common batches; with `isolate_files` a group may fail alone."""
    failures: list[Failure] = []
    by_media = {part.utterances[0].media(chunk.modality): part for group in groups for part in group}

    def add_failures(utterances: Iterable[Utterance], error: Exception, remedy: str = REMEDY_MEDIA) -> None:
        for utterance in utterances:
            part = by_media[utterance.media(chunk.modality)]
            # A file that vanished or changed meanwhile is retried by the next run.
            unchanged = fingerprint_of(part.path, plugin.settings) == part.fingerprint
            fingerprint = part.fingerprint if unchanged else CHANGED
            failures.append(build_failure(chunk, utterance, str(error), fingerprint, remedy=remedy))

    with ShardWriter(shard, plugin.specs[chunk.stream].header, dtype=dtype, command=command) as writer:
        for group in groups:
            waiting = {utterance.id: utterance for part in group for utterance in part.utterances}
            try:
                for utterance, entry in plugin.encoders.entries(
                    chunk.stream, group, decoders=plugin.resources.decode_threads
                ):
                    del waiting[utterance.id]
                    if isinstance(entry, MediaError):
                        add_failures([utterance], entry)
                        continue
                    try:
                        writer.add(entry)
                    except StoreError as error:
                        add_failures([utterance], error, REMEDY_VALUES)
            except DecodeFallbackError:
                raise
            except Exception as error:
                if not isolate_files or not _is_media_error(error):
                    raise
                add_failures(waiting.values(), as_media_error(error))
        frames = writer.frames
    return ChunkResult(chunk=chunk, frames=frames, failures=tuple(failures))


def _is_media_error(error: Exception) -> bool:
    """Whether an error may be caused by a media file; other errors of foal are not."""
    return isinstance(error, MediaError) or not isinstance(error, FoalError)
