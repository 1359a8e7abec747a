"""The picture of a dialog: both actors side by side in a letterbox, as an MPEG-4 AVI."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from .cast import Gender
from .portrait import HEIGHT, MOUTHS, VALENCES, WIDTH, Look, Portrait
from .script import GENDERS, Dialog
from .voice import loudness

RATE = Fraction(30000, 1001)  # frames per second
PICTURE_WIDTH, PICTURE_HEIGHT = 2 * WIDTH, 480
TOP = (PICTURE_HEIGHT - HEIGHT) // 2  # the bar above the picture

_ONSET_SECONDS = 0.12  # in which an expression comes and goes, inside the utterance
_BLINK_FRAMES = 4
_QUALITY = 4  # the encoder's scale, 1 (best) to 31
_LAMBDA = 118  # FF_QP2LAMBDA: what libavcodec multiplies that scale with


def film(path: Path, dialog: Dialog, sounds: Sequence[NDArray[np.float64]], portraits: dict[Gender, Portrait]) -> None:
    """Write the dialog's AVI; `sounds` are the turns' voices, each (samples,), which move the mouths."""
    rng = np.random.default_rng([*dialog.seed, 1])
    seconds = np.arange(int(dialog.seconds * RATE) + 1) / float(RATE)
    looks = {gender: _looks(gender, dialog, sounds, seconds, rng) for gender in GENDERS}
    shifts = {gender: _sway(seconds, rng) for gender in GENDERS}
    marked = dialog.marked
    other = GENDERS[1 - GENDERS.index(marked)]
    with av.open(str(path), "w", format="avi", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = PICTURE_WIDTH, PICTURE_HEIGHT, "yuv420p"
        codec = stream.codec_context
        # One thread and no version marks: the same corpus has the same bytes.
        codec.thread_count = 1
        codec.options = {"flags": "+bitexact+qscale", "global_quality": str(_QUALITY * _LAMBDA)}
        codec.max_b_frames = 2 if dialog.b_frames else 0
        picture = np.zeros((PICTURE_HEIGHT, PICTURE_WIDTH, 3), np.uint8)
        left, right = np.split(picture[TOP : TOP + HEIGHT], 2, axis=1)
        for index in range(len(seconds)):
            portraits[marked].paint(left, looks[marked][index], shifts[marked][index])
            portraits[other].paint(right, looks[other][index], shifts[other][index])
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _looks(
    gender: Gender,
    dialog: Dialog,
    sounds: Sequence[NDArray[np.float64]],
    seconds: NDArray[np.float64],
    rng: np.random.Generator,
) -> list[Look]:
    """One actor's face in every frame; it rests, mouth shut, whenever the actor does not speak."""
    valence, mouth = np.zeros(len(seconds)), np.zeros(len(seconds))
    for turn, sound in zip(dialog.turns, sounds, strict=True):
        if turn.speaker == gender:
            since, left = seconds - turn.start, turn.end - seconds
            shown = np.minimum(np.minimum(since, left) / _ONSET_SECONDS, 1).clip(0)
            # Half-hearted moods are rare: the curve is steep about zero and flat at its ends.
            valence += shown * np.tanh(1.4 * turn.valence) * (1 + 0.1 * np.sin(3.1 * seconds))
            mouth += loudness(sound, since)
    shut = np.zeros(len(seconds), bool)
    for blink in np.cumsum(rng.uniform(1.5, 5.0, len(seconds) // 60 + 1)):
        first = int(np.searchsorted(seconds, blink))
        shut[first : first + _BLINK_FRAMES] = True
    valences = np.rint(VALENCES * valence.clip(-1, 1)).astype(int).tolist()
    mouths = np.rint(MOUTHS * mouth.clip(0, 1)).astype(int).tolist()
    return [Look(*look) for look in zip(valences, mouths, shut.tolist(), strict=True)]


def _sway(seconds: NDArray[np.float64], rng: np.random.Generator) -> list[tuple[int, int]]:
    """Where the head is in every frame, pixels (x, y) from its rest; nobody sits quite still."""
    shift = np.zeros((len(seconds), 2))
    for period_seconds in (1.7, 4.3):
        turn = 2 * np.pi * (seconds[:, None] / (period_seconds * rng.uniform(0.8, 1.25, 2)) + rng.uniform(0, 1, 2))
        shift += np.sin(turn) * (2.6, 1.6)
    return [(x, y) for x, y in np.rint(shift).astype(int).tolist()]
