"""What runs inside a Dask worker: its encoders, loaded once, and one chunk of utterances to one shard."""

import os
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
from ...shared.parallel.resources import Resources, visible_device
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
from .failures import CHANGED, CHECK, MEND, ChunkResult, Failure, failure_of
from .plan import Chunk, by_media
from .stream_spec import Recipe

BEGUN = "foal-begun"
"""Topic of the events by which workers say which task they begin; the run's deadlines count from there."""


class Encoders:
    """The encoders of some streams on one device, each loaded when it is first needed and then kept."""

    def __init__(self, settings: ExtractSettings, recipes: Mapping[str, Recipe], device: torch.device) -> None:
        self._settings, self._recipes, self._device = settings, recipes, device
        self._loaded: dict[str, AudioEncoder | FaceExtractor] = {}

    def load(self, stream: str) -> AudioEncoder | FaceExtractor:
        """A stream's encoder. Raises EncoderError."""
        if stream not in self._loaded:
            recipe, settings = self._recipes[stream], self._settings
            if isinstance(recipe.settings, AudioSettings):
                seconds = settings.batch_seconds
                if seconds is None:
                    seconds = 0.0 if self._device.type == "cpu" else 240.0
                self._loaded[stream] = load_audio_encoder(
                    recipe.weights, self._device, recipe.settings, precision=settings.precision, batch_seconds=seconds
                )
            else:
                assert isinstance(recipe.settings, FaceSettings)
                self._loaded[stream] = build_face_extractor(
                    recipe.settings,
                    recipe.weights,
                    self._device,
                    precision=settings.precision,
                    batch=settings.batch_images,
                )
        return self._loaded[stream]

    def entries(self, stream: str, parts: Sequence[MediaGroup], *, decoders: int) -> Results:
        """The features of all utterances of the parts, in order. Raises DecodeFallbackError."""
        encoder = self.load(stream)
        if isinstance(encoder, AudioEncoder):
            return audio_entries(parts, encoder, decoders=decoders)
        return face_entries(parts, encoder, decoders=decoders)

    def bytes_per_second(self, stream: str) -> float:
        """Bytes of features per second of media."""
        encoder, recipe = self.load(stream), self._recipes[stream]
        itemsize = np.dtype(self._settings.dtype).itemsize
        if isinstance(encoder, AudioEncoder):
            return float(np.prod(encoder.frame_shape)) * AUDIO_RATE_HZ * itemsize
        assert isinstance(recipe.settings, FaceSettings)
        boxes = 16 if recipe.settings.region == "face" else 0
        return (encoder.encoder.width * itemsize + boxes + 1) * recipe.settings.fps


def check_encoders(settings: ExtractSettings, recipes: Mapping[str, Recipe]) -> dict[str, float]:
    """Load every encoder once, before any worker starts; gives the bytes of its features per second of media.

    Raises EncoderError for one that cannot be loaded.
    """
    # Each by itself: they need not be in memory together.
    return {stream: Encoders(settings, recipes, torch.device("cpu")).bytes_per_second(stream) for stream in recipes}


class EncoderPlugin(NamedPlugin):
    """Gives each worker its device, its threads and its encoders."""

    def __init__(self, settings: Settings, recipes: Mapping[str, Recipe], machine: Resources | None) -> None:
        """For the workers of a machine, or (None) for workers that somebody else has started."""
        self.name = unique_name("foal-encoders")
        self.settings, self.recipes, self._machine = settings.extract, recipes, machine
        self._cluster = settings.cluster

    def setup(self, worker: Worker) -> None:
        """Called by Dask in each worker."""
        self.machine = self._machine or Resources.for_external_worker(
            self._cluster, threads=worker.state.nthreads, decode_threads=self.settings.decode_threads
        )
        torch.set_num_threads(self.machine.threads)
        if self._machine is not None and self.machine.devices:
            # Before CUDA is first asked for anything: the worker then sees its own GPU and no other.
            os.environ["CUDA_VISIBLE_DEVICES"] = visible_device(self.machine.devices, str(worker.name))
        device = torch.device("cuda" if self.machine.devices else "cpu")
        self.encoders = Encoders(self.settings, self.recipes, device)
        # A worker of somebody else's may run several tasks at once; its encoders serve one.
        self.busy = threading.Lock()


def extract_chunk(
    chunk: Chunk, *, plugin: str, root: Path, shard: Path, store: Literal["float16", "float32"], command: str
) -> ChunkResult:
    """Turn a chunk into its shard. A media file that cannot be read costs its utterances only.

    Raises FoalError if the shard cannot be written.
    """
    worker = get_worker()
    of_run = worker.plugins[plugin]
    assert isinstance(of_run, EncoderPlugin)
    with of_run.busy:
        if (frames := _frames_there(chunk, of_run, root=root, shard=shard)) is not None:
            return ChunkResult(chunk=chunk, frames=frames, failures=())
        # To load an encoder takes as long as it takes; a deadline is for the media.
        of_run.encoders.load(chunk.stream)
        worker.log_event(BEGUN, {"key": worker.get_current_task(), "worker": worker.address})
        began = time.perf_counter()
        result = _extract(chunk, of_run, root=root, shard=shard, store=store, command=command)
        return replace(result, took=time.perf_counter() - began)


def _frames_there(chunk: Chunk, plugin: EncoderPlugin, *, root: Path, shard: Path) -> int | None:
    """The frames in the chunk's shard, if it is there in order: Dask does a task again whose worker died after it."""
    if not shard.exists() or verify_shard(shard):
        return None
    with ShardReader(shard) as found:
        have = {(name, *at) for name, *at in zip(found.ids, found.sources, found.media, strict=True)}
        parts = [media_group(piece, root, plugin.settings, {}) for piece in by_media(chunk)]
        wanted = {(u.id, u.source(chunk.modality), part.fingerprint) for part in parts for u in part.utterances}
        current = found.header.config_hash == plugin.recipes[chunk.stream].header.config_hash and wanted <= have
        return int(found.offsets[-1]) if current else None


def _extract(
    chunk: Chunk, plugin: EncoderPlugin, *, root: Path, shard: Path, store: Literal["float16", "float32"], command: str
) -> ChunkResult:
    backends: dict[Path, Backend] = {}
    together = True
    while True:
        parts = [media_group(piece, root, plugin.settings, backends) for piece in by_media(chunk)]
        groups = [parts] if together else [[part] for part in parts]
        try:
            # An attempt that fails leaves nothing: what is written does not depend on the attempts before it.
            return _attempt(chunk, groups, plugin, shard, store, command, apart=not together)
        except DecodeFallbackError as fallback:
            backends[fallback.path] = "pyav"
        except Exception as error:
            if not together or not _of_the_media(error):
                raise
            # An encoder met something that nobody foresaw: each file on its own, so that it costs no others.
            together = False


def media_group(piece: Chunk, root: Path, settings: ExtractSettings, backends: Mapping[Path, Backend]) -> MediaGroup:
    """The utterances of one file, and the file's fingerprint; `backends`: video readers other than the default."""
    media = piece.utterances[0].media(piece.modality)
    path = root / media if media else None
    # Taken before decoding: if the file changes meanwhile, the next run sees that it did.
    fingerprint = fingerprint_of(path, settings)
    return MediaGroup(
        modality=piece.modality,
        path=path,
        fingerprint=fingerprint,
        utterances=piece.utterances,
        backend=backends.get(path, "auto") if path else "auto",
    )


def _attempt(
    chunk: Chunk,
    groups: Sequence[Sequence[MediaGroup]],
    plugin: EncoderPlugin,
    shard: Path,
    store: Literal["float16", "float32"],
    command: str,
    *,
    apart: bool,
) -> ChunkResult:
    """Extract the parts, those of a group in common batches; `apart`, a group that fails costs its own only."""
    failures: list[Failure] = []
    of_file = {part.utterances[0].media(chunk.modality): part for group in groups for part in group}

    def failed(utterances: Iterable[Utterance], error: Exception, remedy: str = MEND) -> None:
        for utterance in utterances:
            part = of_file[utterance.media(chunk.modality)]
            # A file that vanished or changed meanwhile may do well another time.
            what = part.fingerprint if fingerprint_of(part.path, plugin.settings) == part.fingerprint else CHANGED
            failures.append(failure_of(chunk, utterance, str(error), what, remedy=remedy))

    with ShardWriter(shard, plugin.recipes[chunk.stream].header, dtype=store, command=command) as writer:
        for group in groups:
            waiting = {utterance.id: utterance for part in group for utterance in part.utterances}
            try:
                for utterance, entry in plugin.encoders.entries(
                    chunk.stream, group, decoders=plugin.machine.decode_threads
                ):
                    del waiting[utterance.id]
                    if isinstance(entry, MediaError):
                        failed([utterance], entry)
                        continue
                    try:
                        writer.add(entry)
                    except StoreError as error:
                        failed([utterance], error, CHECK)
            except DecodeFallbackError:
                raise
            except Exception as error:
                if not apart or not _of_the_media(error):
                    raise
                failed(waiting.values(), as_media_error(error))
        frames = writer.frames
    return ChunkResult(chunk=chunk, frames=frames, failures=tuple(failures))


def _of_the_media(error: Exception) -> bool:
    """Whether an error may come from one of the files: errors of ours about other things do not."""
    return isinstance(error, MediaError) or not isinstance(error, FoalError)
