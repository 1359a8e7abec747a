"""What runs inside a Dask worker: its encoders, loaded once, and one chunk of utterances to one shard."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from distributed import Worker, WorkerPlugin, get_worker

from ..shared.errors import FoalError, MediaError, StoreError
from ..shared.settings import ExtractSettings
from ..shared.shard import ShardHeader, ShardWriter, media_fingerprint
from .audio import AudioEncoder, load_audio_encoder
from .entries import Results, audio_entries, face_entries
from .face import FacePath, load_face_path
from .failure import ChunkResult, Failure, failures_of
from .plan import Chunk, by_media
from .weights import Weights

PLUGIN = "foal-encoders"


class EncoderPlugin(WorkerPlugin):
    """Loads each encoder when the first chunk needs it, and keeps it as long as the worker lives."""

    def __init__(self, settings: ExtractSettings, weights: Mapping[str, Weights], threads: int) -> None:
        self.settings, self.weights, self.threads = settings, weights, threads
        self._audio: AudioEncoder | None = None
        self._face: FacePath | None = None

    def setup(self, worker: Worker) -> None:
        """Called by Dask in each worker."""
        torch.set_num_threads(self.threads)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def audio(self) -> AudioEncoder:
        """The audio encoder."""
        if self._audio is None:
            self._audio = load_audio_encoder(self.weights["audio"], self._device)
        return self._audio

    @property
    def face(self) -> FacePath:
        """The face detector and encoder."""
        if self._face is None:
            self._face = load_face_path(self.settings.face, self.weights["face"], self._device)
        return self._face


def extract_chunk(
    chunk: Chunk, *, root: Path, shard: Path, header: ShardHeader, store: Literal["float16", "float32"], command: str
) -> ChunkResult:
    """Turn a chunk into its shard. A media file that cannot be read costs its utterances only.

    Raises FoalError if the shard cannot be written.
    """
    plugin = get_worker().plugins[PLUGIN]
    assert isinstance(plugin, EncoderPlugin)
    failures: list[Failure] = []
    with ShardWriter(shard, header, dtype=store, command=command) as writer:
        for part in by_media(chunk):
            media = part.utterances[0].media(chunk.modality)
            path = root / media if media else None
            # Taken before decoding: if the file changes meanwhile, the next run sees that it did.
            fingerprint = media_fingerprint(path) if path else ""
            waiting = {utterance.id: utterance for utterance in part.utterances}
            try:
                for utterance, entry in _entries(plugin, path, part):
                    del waiting[utterance.id]
                    if isinstance(entry, MediaError):
                        failures += failures_of(chunk, [utterance], str(entry))
                        continue
                    try:
                        writer.add(replace(entry, media=fingerprint))
                    except StoreError as error:
                        failures += failures_of(chunk, [utterance], str(error))
            except MediaError as error:
                failures += failures_of(chunk, waiting.values(), str(error))
            except FoalError:
                raise
            except Exception as error:
                # Decoders and encoders meet files that nobody foresaw; one of them must not cost the others.
                reason = (
                    f"cannot be processed ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
                )
                failures += failures_of(chunk, waiting.values(), reason)
        frames = writer.frames
    return ChunkResult(chunk=chunk, frames=frames, failures=tuple(failures))


def _entries(plugin: EncoderPlugin, path: Path | None, part: Chunk) -> Results:
    if part.modality == "face":
        return face_entries(path, part.utterances, plugin.face)
    return audio_entries(path, part.utterances, plugin.audio)
