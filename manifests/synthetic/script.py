"""Who says what, when and in which mood: the plan of the synthetic corpus, before anything is drawn or spoken."""

from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from .cast import Gender

GENDERS: tuple[Gender, Gender] = ("F", "M")
CLASSES = ("neu", "hap", "sad", "ang")
SESSIONS = (1, 2, 3, 4, 5)

MOODS: dict[str, tuple[float, float]] = {
    # (arousal, valence), each class mean about 1 from the middle. Arousal is only in the voice and valence only in
    # the face, so that a voice alone confuses ang with hap and neu with sad, a face alone hap with neu and ang with
    # sad, and only the two together tell all four.
    "neu": (-0.96, 0.96),
    "hap": (0.96, 1.04),
    "exc": (1.04, 1.04),
    "sad": (-1.04, -1.04),
    "ang": (1.04, -0.96),
    # Two that a manifest of four classes leaves out.
    "fru": (0.5, -0.8),
    "xxx": (0.0, 0.0),
}
_OF_ACTOR, _OF_TURN = 0.15, 0.54  # spread around the mean: some 4% of the turns end up on the wrong side of zero

_SENTENCES = (
    "I put the letter on the table this morning.",
    "They said the train would leave at nine.",
    "You never told me which door it was.",
    "The blue one is still in the kitchen.",
    "We could walk down to the harbour again.",
    "Somebody called while you were out.",
    "It has been raining since Tuesday.",
    "Then ask them for the other form.",
    "He will be here before the weekend.",
    "I thought you had the keys.",
    "Leave it where it is for now.",
    "That is what the lady at the desk said.",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One utterance of a dialog."""

    id: str
    speaker: Gender
    emotion: str
    arousal: float  # what the voice tells, -2 to 2; see MOODS
    valence: float  # what the face tells
    start: float  # seconds from the start of the dialog, four decimals like the corpus
    end: float
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialog:
    """One recording of the two actors of a session; the one who wears the markers stands on the left."""

    name: str
    session: int
    marked: Gender
    turns: tuple[Turn, ...]
    seconds: float
    b_frames: bool  # some encoders of the time used them, others did not
    seed: tuple[int, ...]  # for everything random in its sound and picture


def plan(utterances: int, seed: int) -> list[Dialog]:
    """All dialogs of a corpus with this many four-class utterances, in the order of sessions."""
    rng = np.random.default_rng([seed, 0])
    leanings = {(s, g): rng.normal(0, _OF_ACTOR, 2) for s in SESSIONS for g in GENDERS}  # of arousal and valence
    dialogs = []
    happy = 0
    for session in SESSIONS:
        share = utterances // len(SESSIONS) + (session <= utterances % len(SESSIONS))
        casting: dict[Gender, list[str]] = {"F": [], "M": []}
        for turn in range(share):
            # Both run in step, the speaker one off after every round, so each speaker gets each class; the session
            # shifts the two against each other, so that few utterances, too, tie no class to a gender.
            emotion = CLASSES[(turn + session) % 4]
            if emotion == "hap":
                happy += 1
                emotion = ("hap", "exc")[happy % 2]
            casting[GENDERS[(turn + turn // 4) % 2]].append(emotion)
        for extra in range(max(1, share // 10)):
            casting[GENDERS[(session + extra) % 2]].append(("fru", "xxx")[(session + extra // 2) % 2])
        for emotions in casting.values():
            rng.shuffle(emotions)
        count = max(2, round(share / 8))
        for index in range(count):
            parts = {gender: emotions[index::count] for gender, emotions in casting.items()}
            dialogs.append(_dialog(session, index, parts, leanings, seed, rng))
    return dialogs


def _name(session: int, index: int) -> str:
    """The dialogs of a session take turns in who wears the markers, and in acting from a script or freely."""
    marked, number = GENDERS[index % 2], index // 4 + 1
    if index % 4 in (0, 3):
        # One of the names with a letter more, over which whoever counts characters falls.
        return f"Ses{session:02d}{marked}_impro{'05a' if (session, index) == (3, 0) else f'{number:02d}'}"
    return f"Ses{session:02d}{marked}_script{(number + 2) // 3:02d}_{(number - 1) % 3 + 1}"


def _dialog(
    session: int,
    index: int,
    parts: dict[Gender, list[str]],
    leanings: dict[tuple[int, Gender], NDArray[np.float64]],
    seed: int,
    rng: np.random.Generator,
) -> Dialog:
    name = _name(session, index)
    first, second = GENDERS if rng.random() < 0.5 else GENDERS[::-1]
    order = [
        (gender, number, emotion)
        for number, pair in enumerate(zip_longest(parts[first], parts[second]))
        for gender, emotion in zip((first, second), pair, strict=True)
        if emotion is not None
    ]
    turns = []
    clock = rng.uniform(0.5, 0.9)
    for gender, number, emotion in order:
        length = rng.triangular(1.0, 1.4, 3.0)
        mood = np.array(MOODS[emotion]) + leanings[session, gender] + rng.normal(0, _OF_TURN, 2)
        arousal, valence = np.clip(mood, -2, 2)
        turns.append(
            Turn(
                id=f"{name}_{gender}{number:03d}",
                speaker=gender,
                emotion=emotion,
                arousal=float(arousal),
                valence=float(valence),
                start=round(clock, 4),
                end=round(clock + length, 4),
                text=_SENTENCES[rng.integers(len(_SENTENCES))],
            )
        )
        clock += length + rng.uniform(0.2, 0.6)
    return Dialog(
        name=name,
        session=session,
        marked=GENDERS[index % 2],
        turns=tuple(turns),
        seconds=clock + 0.3,
        b_frames=(session + index) % 2 == 0,
        seed=(seed, session, index),
    )
