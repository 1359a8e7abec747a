"""The utterances of one media file within a chunk, and what their decoding and encoding yields."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...shared.config.settings import ExtractSettings
from ...shared.errors import MediaError
from ...shared.files.fingerprint import media_fingerprint
from ...shared.store.shard import Entry
from ...shared.timing import MAX_MEDIA_SECONDS
from ...shared.utterance import Utterance
from .probe import first_line

Results = Iterator[tuple[Utterance, Entry | MediaError]]
"""Each utterance with its features, or with what is wrong with its stretch of the file."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Utterances of one file and the file's fingerprint; no path: the manifest names none.

    `patiently`: decode it with PyAV, because decord gave up on it.
    """

    modality: str
    path: Path | None
    fingerprint: str
    utterances: Sequence[Utterance]
    patiently: bool = False

    @property
    def unnamed(self) -> str:
        """What is said of utterances whose manifest names no file."""
        return f"no {'video' if self.modality == 'face' else 'audio'} in the manifest"

    def without(self, frame_shape: tuple[int, ...], note: str) -> Results:
        """Its utterances lack the modality: no frames, and the reason."""
        for utterance in self.utterances:
            entry = Entry(
                id=utterance.id,
                values=np.zeros((0, *frame_shape), np.float32),
                valid=np.zeros(0, bool),
                note=note,
                origin=utterance.start or 0.0,
                source=utterance.source(self.modality),
                media=self.fingerprint,
            )
            yield utterance, entry

    def failed(self, error: Exception) -> Results:
        """None of its utterances could be extracted, all for one reason."""
        for utterance in self.utterances:
            yield utterance, as_media_error(error)


def fingerprint_of(path: Path | None, settings: ExtractSettings) -> str:
    """What a media file is now, as the settings want it told; empty where there is none, or none can be read."""
    return media_fingerprint(path, content=settings.fingerprint == "content") if path else ""


def as_media_error(error: Exception) -> MediaError:
    """Decoders and encoders meet files that nobody foresaw; one of them must not cost the others."""
    if isinstance(error, MediaError):
        return error
    return MediaError(f"cannot be processed ({type(error).__name__}: {first_line(str(error))})")


def check_stretch(utterance: Utterance) -> None:
    """Raise MediaError for times that are of no recording."""
    for name, seconds in (("start", utterance.start), ("end", utterance.end)):
        if seconds is not None and seconds > MAX_MEDIA_SECONDS:
            raise MediaError(f"expected seconds of the file, got {name} = {seconds:g}; mend it in the manifest")
