"""Extract one chunk of utterances into one shard, with encoders that stay loaded.

Imports torch, which takes seconds. The main process of a run does not import this module.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

from ...shared.config.settings import AudioSettings, ExtractSettings, FaceSettings, TextSettings
from ...shared.errors import FoalError, MediaError, StoreError
from ...shared.files.fingerprint import CONTENT, content_hash
from ...shared.files.unicode_names import locate
from ...shared.parallel.resources import MIN_DECODE_BYTES
from ...shared.store.shard import ShardReader, ShardWriter, verify_shard
from ...shared.timing import TEXT_CHARACTERS_PER_SECOND
from ...shared.utterance import Utterance
from ..audio.loading import load_audio_encoder
from ..audio.pipeline import WaveEncoder, audio_entries
from ..audio.smile import SmileEncoder
from ..face.batching import FaceExtractor
from ..face.facenet import build_face_extractor
from ..face.pipeline import face_entries
from ..media.media_group import MediaGroup, Results, as_media_error, fingerprint_of
from ..media.video_reader import Backend, DecodeFallbackError
from ..text.encoder import TextEncoder
from ..text.loading import load_text_encoder
from ..text.pipeline import text_entries
from .failures import CHANGED, REMEDY_MEDIA, REMEDY_VALUES, ChunkResult, Failure, build_failure
from .libraries import libraries_of
from .plan import Chunk, group_by_media
from .stream_spec import StreamSpec

Encoder = WaveEncoder | FaceExtractor | TextEncoder


class Encoders:
    """The encoders of some streams on one device; each is loaded at its first use and then kept."""

    def __init__(
        self,
        settings: ExtractSettings,
        specs: Mapping[str, StreamSpec],
        device: torch.device,
        *,
        decode_threads: int,
        decode_budget: int = MIN_DECODE_BYTES,
    ) -> None:
        self.settings = settings
        self.specs = specs
        self._device = device
        self._decode_threads = decode_threads
        self._decode_budget = decode_budget
        self._loaded: dict[str, Encoder] = {}

    def import_libraries(self) -> None:
        """Import the libraries that the streams need, and no others: transformers and torchvision take seconds.

        Called while a worker starts, so that all workers of a run import at the same time. A library that cannot be
        imported is reported by `load`.
        """
        for module in libraries_of(self.specs.values()):
            with suppress(ImportError):
                import_module(module)

    def load(self, stream: str) -> Encoder:
        """Load a stream's encoder. Raises EncoderError."""
        if stream not in self._loaded:
            self._loaded[stream] = self._build(self.specs[stream])
        return self._loaded[stream]

    def _build(self, spec: StreamSpec) -> Encoder:
        settings = self.settings
        if isinstance(spec.settings, AudioSettings):
            if spec.weights.opensmile:
                return SmileEncoder(spec.weights)
            seconds = settings.batch_seconds
            if seconds is None:
                seconds = 0.0 if self._device.type == "cpu" else 240.0
            return load_audio_encoder(
                spec.weights, self._device, spec.settings, precision=settings.precision, batch_seconds=seconds
            )
        if isinstance(spec.settings, TextSettings):
            return load_text_encoder(
                spec.weights,
                self._device,
                spec.settings,
                precision=settings.precision,
                batch_tokens=settings.batch_tokens,
            )
        return build_face_extractor(
            spec.settings, spec.weights, self._device, precision=settings.precision, batch=settings.batch_images
        )

    def entries(self, stream: str, parts: Sequence[MediaGroup]) -> Results:
        """Extract all utterances of the media files, in order. Raises DecodeFallbackError."""
        encoder = self.load(stream)
        if isinstance(encoder, FaceExtractor):
            return face_entries(parts, encoder, decoders=self._decode_threads, budget=self._decode_budget)
        settings = self.specs[stream].settings
        if isinstance(encoder, TextEncoder):
            assert isinstance(settings, TextSettings)
            return text_entries(parts, encoder, settings)
        assert isinstance(settings, AudioSettings)
        return audio_entries(
            parts,
            encoder,
            decoders=self._decode_threads,
            channel=settings.channel,
            budget=self._decode_budget,
        )

    def bytes_per_second(self, stream: str) -> float:
        """Bytes of features per second of media; for text an upper limit, with a token per character."""
        encoder = self.load(stream)
        settings = self.specs[stream].settings
        itemsize = np.dtype(self.specs[stream].dtype).itemsize
        if isinstance(encoder, TextEncoder):
            rows = TEXT_CHARACTERS_PER_SECOND if encoder.rows_per_token else 1.0
            return float(np.prod(encoder.frame_shape)) * rows * itemsize
        if not isinstance(encoder, FaceExtractor):
            return float(np.prod(encoder.frame_shape)) * encoder.rate_hz * itemsize
        assert isinstance(settings, FaceSettings)
        box_bytes = 16 if settings.region == "face" else 0
        return (encoder.encoder.width * itemsize + box_bytes + 1) * settings.fps


def frames_in_existing_shard(chunk: Chunk, encoders: Encoders, *, root: Path, shard: Path) -> int | None:
    """Frames in the chunk's shard if it is complete: Dask repeats a task whose worker died after finishing it."""
    if not shard.exists() or verify_shard(shard):
        return None
    with ShardReader(shard) as existing:
        present = set(zip(existing.ids, existing.sources, existing.media, strict=True))
        groups = [media_group(part, root, encoders.settings, {}) for part in group_by_media(chunk)]
        wanted = {
            (utterance.id, chunk.source(utterance), group.fingerprint)
            for group in groups
            for utterance in group.utterances
        }
        current = existing.header.config_hash == encoders.specs[chunk.stream].config_hash and wanted <= present
        return int(existing.offsets[-1]) if current else None


def extract_into_shard(chunk: Chunk, encoders: Encoders, *, root: Path, shard: Path, command: str) -> ChunkResult:
    """Attempt the chunk until an attempt succeeds; each starts from the beginning and leaves nothing if it fails."""
    backends: dict[Path, Backend] = {}
    isolate_files = False
    while True:
        parts = [media_group(part, root, encoders.settings, backends) for part in group_by_media(chunk)]
        groups = [[part] for part in parts] if isolate_files else [parts]
        try:
            with _content_hashes(parts) as hashes:
                # What is written does not depend on the attempts before.
                return _attempt(chunk, groups, encoders, shard, command, hashes, isolate_files=isolate_files)
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
    path = locate(root, media) if media else None
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
    encoders: Encoders,
    shard: Path,
    command: str,
    hashes: Mapping[str, "Future[str]"],
    *,
    isolate_files: bool,
) -> ChunkResult:
    """Extract the media files, those of a group in common batches; with `isolate_files` a group may fail alone.

    `hashes` are the content hashes of the files, by their paths in the manifest.
    """
    failures: list[Failure] = []
    by_media = {part.utterances[0].media(chunk.modality): part for group in groups for part in group}

    def add_failures(utterances: Iterable[Utterance], error: Exception, remedy: str = REMEDY_MEDIA) -> None:
        for utterance in utterances:
            part = by_media[utterance.media(chunk.modality)]
            # A file that vanished or changed meanwhile is retried by the next run.
            unchanged = fingerprint_of(part.path, encoders.settings) == part.fingerprint
            fingerprint = part.fingerprint if unchanged else CHANGED
            failures.append(build_failure(chunk, utterance, str(error), fingerprint, remedy=remedy))

    spec = encoders.specs[chunk.stream]
    with ShardWriter(shard, spec.header, dtype=spec.dtype, command=command) as writer:
        for group in groups:
            waiting = {utterance.id: utterance for part in group for utterance in part.utterances}
            try:
                for utterance, entry in encoders.entries(chunk.stream, group):
                    del waiting[utterance.id]
                    if isinstance(entry, MediaError):
                        add_failures([utterance], entry)
                        continue
                    try:
                        hashed = hashes.get(utterance.media(chunk.modality))
                        writer.add(replace(entry, content=hashed.result() if hashed else ""))
                    except StoreError as error:
                        add_failures([utterance], error, REMEDY_VALUES)
            except DecodeFallbackError:
                raise
            except Exception as error:
                if not isolate_files or not _is_media_error(error):
                    raise
                add_failures(waiting.values(), as_media_error(error))
        frames = writer.frames
    return ChunkResult(frames=frames, failures=tuple(failures))


@contextmanager
def _content_hashes(parts: Sequence[MediaGroup]) -> Iterator[dict[str, "Future[str]"]]:
    """Content hashes of the media files, by their paths in the manifest; computed in a thread while others decode.

    Files whose fingerprint is a content hash already, or that cannot be read, have none.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="foal-hash") as pool:
        try:
            yield {
                part.utterances[0].media(part.modality): pool.submit(content_hash, part.path, part.fingerprint)
                for part in parts
                if part.path is not None and part.fingerprint and not part.fingerprint.startswith(CONTENT)
            }
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _is_media_error(error: Exception) -> bool:
    """Whether an error may be caused by a media file; other errors of foal are not."""
    return isinstance(error, MediaError) or not isinstance(error, FoalError)
