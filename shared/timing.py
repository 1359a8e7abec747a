"""Conversion between seconds, samples and frames; the only module that rounds times."""

import math

import numpy as np
from numpy.typing import NDArray

Seconds = float

SAMPLE_RATE = 16_000
"""Sample rate in Hz that all encoders of the wav2vec2 family expect."""

AUDIO_FRAME_SAMPLES = 400
AUDIO_HOP_SAMPLES = 320
"""Receptive field and stride of their convolutions: a hidden state covers 25 ms, one every 20 ms."""

AUDIO_RATE_HZ = SAMPLE_RATE / AUDIO_HOP_SAMPLES
AUDIO_ORIGIN: Seconds = AUDIO_FRAME_SAMPLES / 2 / SAMPLE_RATE
"""Centre of the first hidden state, relative to the start of the utterance."""

STAMP_TOLERANCE: Seconds = 1e-3
"""Rounding of presentation times: Matroska and FLV count milliseconds, both from the file's start and of its start."""

TEXT_CHARACTERS_PER_SECOND = 15.0
"""Characters of a transcript per second of speech, roughly; the size of text among media."""

MAX_MEDIA_SECONDS: Seconds = 1e6
"""Longer durations (eleven days) in a manifest or a media file are errors."""


def to_samples(seconds: Seconds, rate_hz: float) -> int:
    """The sample nearest to a time; halves are rounded up, so that adjacent segments never overlap."""
    return math.floor(seconds * rate_hz + 0.5)


def audio_frames(samples: int) -> int:
    """The number of hidden states of a waveform; a shorter one is padded to one frame."""
    return max(0, samples - AUDIO_FRAME_SAMPLES) // AUDIO_HOP_SAMPLES + 1


def samples_of_frames(first: int, last: int) -> tuple[int, int]:
    """The samples start:stop that the hidden states first:last cover."""
    return first * AUDIO_HOP_SAMPLES, (last - 1) * AUDIO_HOP_SAMPLES + AUDIO_FRAME_SAMPLES


def face_times(start: Seconds, seconds: Seconds, fps: float) -> NDArray[np.float64]:
    """The times in seconds, (n,), at which a segment of video is sampled: the middles of intervals of 1/fps.

    Args:
        start: start of the segment in the video.
        seconds: length of the segment.
        fps: sampled frames per second.
    """
    count = face_count(seconds, fps)
    times: NDArray[np.float64] = start + (np.arange(count, dtype=np.float64) + 0.5) / fps
    return times


def face_count(seconds: Seconds, fps: float) -> int:
    """The number of times that `face_times` returns; at least one."""
    return max(1, math.floor(seconds * fps + 0.5))


def shown_frames(times: NDArray[np.float64], shown_at: NDArray[np.float64], end: Seconds) -> NDArray[np.int64]:
    """The frame that a video shows at each time: the last one whose presentation time is not later.

    A frame is shown until the next one, however long that takes, and the last frame until `end`.

    Args:
        times: (n,) in seconds.
        shown_at: (frames,) ascending presentation times in seconds.
        end: end of the last frame.

    Returns:
        (n,) indices into `shown_at`; -1 for times before the first frame and after the end.
    """
    frames = np.searchsorted(shown_at, times + STAMP_TOLERANCE, side="right") - 1
    return np.where(times > end + STAMP_TOLERANCE, -1, frames).astype(np.int64)
