"""Seconds to samples and frames and back: the only place that rounds."""

import math

import numpy as np
from numpy.typing import NDArray

Seconds = float

SAMPLE_RATE = 16_000
"""Hz; what every wav2vec2-family encoder was trained on."""

AUDIO_FRAME_SAMPLES, AUDIO_HOP_SAMPLES = 400, 320
"""Receptive field and stride of the family's convolutions at 16 kHz: one hidden state covers 25 ms, every 20 ms."""

AUDIO_RATE_HZ = SAMPLE_RATE / AUDIO_HOP_SAMPLES
AUDIO_ORIGIN: Seconds = AUDIO_FRAME_SAMPLES / 2 / SAMPLE_RATE
"""Centre of the first hidden state, counted from the start of the utterance."""

SAME_TIME: Seconds = 5e-4

LONGEST: Seconds = 1e6
"""Nothing that people film or record lasts eleven days; what a manifest or a file says beyond is a mistake."""


def to_samples(seconds: Seconds, rate_hz: float) -> int:
    """The sample nearest to a time; halves go up, so that neighbouring cuts never overlap."""
    return math.floor(seconds * rate_hz + 0.5)


def audio_frames(samples: int) -> int:
    """Hidden states that the family gives for a wave, padded to one frame if it is shorter than that."""
    return max(0, samples - AUDIO_FRAME_SAMPLES) // AUDIO_HOP_SAMPLES + 1


def samples_of_frames(first: int, last: int) -> tuple[int, int]:
    """The samples start:stop that the hidden states first:last cover."""
    return first * AUDIO_HOP_SAMPLES, (last - 1) * AUDIO_HOP_SAMPLES + AUDIO_FRAME_SAMPLES


def face_times(start: Seconds, seconds: Seconds, fps: float) -> NDArray[np.float64]:
    """The times at which a stretch of video is looked at: the middles of its 1/fps long pieces, at least one."""
    count = face_count(seconds, fps)
    times: NDArray[np.float64] = start + (np.arange(count, dtype=np.float64) + 0.5) / fps
    return times


def face_count(seconds: Seconds, fps: float) -> int:
    """How many these times are."""
    return max(1, math.floor(seconds * fps + 0.5))


def nearest_frames(times: NDArray[np.float64], shown_at: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each time the frame whose presentation time is nearest (the earlier one of two equally near).

    Half a millisecond counts as equal: a time midway between two frames must not go here or there by rounding.
    `shown_at` ascends. A time further from every frame than two of their usual distances gets -1: the picture ends
    before it, and showing the last frame instead would invent data.
    """
    if len(shown_at) == 0:
        return np.full(len(times), -1, np.int64)
    after = np.searchsorted(shown_at, times).clip(1, max(1, len(shown_at) - 1))
    before = after - 1
    if len(shown_at) == 1:
        after = before
    nearer_after = shown_at[after] - times < times - shown_at[before] - SAME_TIME
    chosen = np.where(nearer_after, after, before)
    usual = float(np.median(np.diff(shown_at))) if len(shown_at) > 1 else math.inf
    return np.where(np.abs(shown_at[chosen] - times) > 2 * usual, -1, chosen).astype(np.int64)
