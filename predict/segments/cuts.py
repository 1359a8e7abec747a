"""Clips cut into utterances: stretches of speech, or pieces of equal length."""

import logging
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

from ...extract.media.media_group import as_media_error
from ...extract.media.probe import probe
from ...extract.media.waveform import NoAudioTrackError, Waveform
from ...shared.cli.progress import progress_display
from ...shared.config.settings import Channel
from ...shared.errors import MediaError, UsageError
from ...shared.timing import SAMPLE_RATE, Seconds
from ...shared.utterance import Utterance
from ..sources import part_of

Kind = Literal["vad", "fixed"]
Segments = list[tuple[Seconds, Seconds]]

log = logging.getLogger(__name__)


def segmented(
    utterances: Sequence[Utterance], kind: Kind, *, window: Seconds, channel: Channel = "mean"
) -> tuple[list[Utterance], dict[str, str]]:
    """Cut utterances into segments, each an utterance with start and end.

    Args:
        utterances: with absolute paths.
        kind: vad: stretches of speech; fixed: pieces of `window` seconds, of which the last one is between half and one
            and a half of that.
        window: length of a piece.
        channel: channel of the recording in which speech is looked for.

    Returns:
        The segments, and by id a note about clips that are predicted as a whole. A file that cannot be read stays whole
        too: its extraction fails with the reason.
    """
    result: list[Utterance] = []
    notes: dict[str, str] = {}
    known: dict[tuple[object, ...], Segments] = {}
    with progress_display("segments", total=len(utterances), unit="clips") as display:
        for utterance in utterances:
            segments: Segments = []
            try:
                # The faces of a clip share its sound.
                stretch = utterance.audio, utterance.video, utterance.start, utterance.end
                if stretch not in known:
                    known[stretch] = _speech(utterance, channel) if kind == "vad" else _pieces(utterance, window)
                segments = known[stretch]
                if not segments:
                    notes[utterance.id] = "no speech found: predicted as a whole"
            except NoAudioTrackError:
                notes[utterance.id] = "no sound to look for speech in: predicted as a whole"
            except UsageError:
                raise
            except Exception as error:
                log.debug("%s: %s", utterance.id, as_media_error(error))
            result += [
                part_of(utterance, f"{start:.2f}-{end:.2f}", start=round(start, 3), end=round(end, 3))
                for start, end in segments
            ] or [utterance]
            display.advance()
    return result, notes


def _speech(utterance: Utterance, channel: Channel) -> Segments:
    from .speech import speech_probabilities, speech_segments

    if not utterance.audio:
        raise NoAudioTrackError
    wave = Waveform(Path(utterance.audio), channel=channel).cut(utterance.start, utterance.end)
    offset = utterance.start or 0.0
    found = speech_segments(speech_probabilities(wave), len(wave) / SAMPLE_RATE)
    return [(offset + start, offset + end) for start, end in found]


def _pieces(utterance: Utterance, window: Seconds) -> Segments:
    start = utterance.start or 0.0
    end = utterance.end
    if end is None:
        end = probe(Path(utterance.video or utterance.audio)).seconds
    if end is None:
        raise MediaError("the file declares no duration")
    return [(start + first, start + last) for first, last in equal_pieces(end - start, window)]


def equal_pieces(length: Seconds, window: Seconds) -> Segments:
    """Start and end of pieces of `window` seconds; a rest of less than half of that belongs to the last piece."""
    count = max(1, round(length / window))
    edges = [number * window for number in range(count)] + [length]
    return list(pairwise(edges))
