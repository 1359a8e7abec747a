"""The video of a dialog: both actors side by side in a letterbox, as an MPEG-4 AVI."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from .cast import Gender
from .portrait import HEIGHT, MOODS, MOUTHS, WIDTH, Expression, Portrait
from .script import GENDERS, Dialog
from .voice import mouth_opening

RATE = Fraction(30000, 1001)  # frames per second
PICTURE_WIDTH, PICTURE_HEIGHT = 2 * WIDTH, 480
TOP = (PICTURE_HEIGHT - HEIGHT) // 2  # height of the bar above the actors

_ONSET_SECONDS = 0.12  # duration in which an expression appears and disappears, inside the utterance
_BLINK_FRAMES = 4
_QUALITY = 4  # the encoder's scale, 1 (best) to 31
_LAMBDA = 118  # FF_QP2LAMBDA: what libavcodec multiplies that scale with


def render_video(
    path: Path, dialog: Dialog, sounds: Sequence[NDArray[np.float64]], portraits: dict[Gender, Portrait]
) -> None:
    """Write the video of a dialog.

    Args:
        path: the AVI file to write.
        dialog: the turns and moods.
        sounds: the voice of each turn, (samples,) at 16 kHz; they move the mouths.
        portraits: the two actors.
    """
    rng = np.random.default_rng([*dialog.seed, 1])
    seconds = np.arange(int(dialog.seconds * RATE) + 1) / float(RATE)
    expressions = {gender: _expressions(gender, dialog, sounds, seconds, rng) for gender in GENDERS}
    shifts = {gender: _head_motion(seconds, rng) for gender in GENDERS}
    left_speaker = dialog.left_speaker
    other = GENDERS[1 - GENDERS.index(left_speaker)]
    with av.open(str(path), "w", format="avi", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = PICTURE_WIDTH, PICTURE_HEIGHT, "yuv420p"
        codec = stream.codec_context
        # One thread and no version tags: the same corpus has the same bytes.
        codec.thread_count = 1
        codec.options = {"flags": "+bitexact+qscale", "global_quality": str(_QUALITY * _LAMBDA)}
        codec.max_b_frames = 2 if dialog.b_frames else 0
        picture = np.zeros((PICTURE_HEIGHT, PICTURE_WIDTH, 3), np.uint8)
        left, right = np.split(picture[TOP : TOP + HEIGHT], 2, axis=1)
        for index in range(len(seconds)):
            portraits[left_speaker].paint(left, expressions[left_speaker][index], shifts[left_speaker][index])
            portraits[other].paint(right, expressions[other][index], shifts[other][index])
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _expressions(
    gender: Gender,
    dialog: Dialog,
    sounds: Sequence[NDArray[np.float64]],
    seconds: NDArray[np.float64],
    rng: np.random.Generator,
) -> list[Expression]:
    """The expression of one actor in every frame; neutral with a closed mouth when the actor does not speak."""
    mouth = np.zeros(len(seconds))
    valence, arousal = np.ones(len(seconds)), -np.ones(len(seconds))  # at rest
    for turn, sound in zip(dialog.turns, sounds, strict=True):
        if turn.speaker == gender:
            since, left = seconds - turn.start, turn.end - seconds
            shown = np.minimum(np.minimum(since, left) / _ONSET_SECONDS, 1).clip(0)
            strength = 1.4 * (1 + 0.1 * np.sin(3.1 * seconds))
            # The curve is steep at zero and flat at its ends: weak expressions are rare.
            valence += shown * (np.tanh(strength * turn.face_valence) - 1)
            arousal += shown * (np.tanh(strength * turn.face_arousal) + 1)
            mouth += mouth_opening(sound, since)
    shut = np.zeros(len(seconds), bool)
    for blink in np.cumsum(rng.uniform(1.5, 5.0, len(seconds) // 60 + 1)):
        first = int(np.searchsorted(seconds, blink))
        shut[first : first + _BLINK_FRAMES] = True
    steps = [np.rint(MOODS * axis.clip(-1, 1)).astype(int).tolist() for axis in (valence, arousal)]
    steps.append(np.rint(MOUTHS * mouth.clip(0, 1)).astype(int).tolist())
    return [Expression(*expression) for expression in zip(*steps, shut.tolist(), strict=True)]


def _head_motion(seconds: NDArray[np.float64], rng: np.random.Generator) -> list[tuple[int, int]]:
    """The position of the head in every frame, in pixels (x, y) from its rest position."""
    shift = np.zeros((len(seconds), 2))
    for period_seconds in (1.7, 4.3):
        turn = 2 * np.pi * (seconds[:, None] / (period_seconds * rng.uniform(0.8, 1.25, 2)) + rng.uniform(0, 1, 2))
        shift += np.sin(turn) * (2.6, 1.6)
    return [(x, y) for x, y in np.rint(shift).astype(int).tolist()]
