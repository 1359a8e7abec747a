"""The utterances of one media file within a chunk: the unit of work of both pipelines."""

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
from .video_reader import Backend

Results = Iterator[tuple[Utterance, Entry | MediaError]]
"""Each utterance with its features, or with the reason why it has none."""


@dataclass(frozen=True, kw_only=True)
class MediaGroup:
    """Utterances of one media file.

    Attributes:
        modality: audio or face.
        path: the media file; None if the manifest names none.
        fingerprint: of the media file before it is decoded.
        utterances: the utterances, all of this file.
        backend: video reader; "pyav" after decord failed on the file.
    """

    modality: str
    path: Path | None
    fingerprint: str
    utterances: Sequence[Utterance]
    backend: Backend = "auto"

    @property
    def missing_note(self) -> str:
        """Note of utterances whose manifest names no file."""
        return f"no {'video' if self.modality == 'face' else 'audio'} in the manifest"

    def empty_entries(self, frame_shape: tuple[int, ...], note: str) -> Results:
        """Entries without frames, for utterances that lack the modality.

        Args:
            frame_shape: shape of one frame of the features.
            note: the reason.
        """
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

    def error_results(self, error: Exception) -> Results:
        """The same error for all utterances."""
        for utterance in self.utterances:
            yield utterance, as_media_error(error)


def fingerprint_of(path: Path | None, settings: ExtractSettings) -> str:
    """Fingerprint of a media file as it is now, of the kind in `settings`; empty if it cannot be read."""
    return media_fingerprint(path, content=settings.fingerprint == "content") if path else ""


def as_media_error(error: Exception) -> MediaError:
    """Wrap an unforeseen error of a decoder or encoder, which must not cost the utterances of other files."""
    if isinstance(error, MediaError):
        return error
    return MediaError(f"cannot be processed ({type(error).__name__}: {first_line(str(error))})")


def check_times(utterance: Utterance) -> None:
    """Raise MediaError for a start or end that no recording has."""
    for name, seconds in (("start", utterance.start), ("end", utterance.end)):
        if seconds is not None and seconds > MAX_MEDIA_SECONDS:
            raise MediaError(f"expected a time in the file, got {name} = {seconds:g} s; correct it in the manifest")
