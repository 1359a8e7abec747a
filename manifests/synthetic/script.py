"""The script of the synthetic corpus: speakers, times, texts and moods of all turns."""

from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from .cast import Gender
from .scenes import CLASSES, GENDERS, Scene, cast_scenes, plan_scenes
from .words import draw_sentence, with_tags

__all__ = ["CLASSES", "GENDERS", "MOODS", "SESSIONS", "Dialog", "ScriptTurn", "plan_dialogs"]

SESSIONS = (1, 2, 3, 4, 5)

MOODS: dict[str, tuple[float, float]] = {
    # (arousal, valence), each class mean about 1 from zero.
    "neu": (-0.96, 0.96),
    "hap": (0.96, 1.04),
    "exc": (1.04, 1.04),
    "sad": (-1.04, -1.04),
    "ang": (1.04, -0.96),
    # Not among the four classes of the default manifest.
    "fru": (0.5, -0.8),
    "xxx": (0.0, 0.0),
}
# Standard deviations around the class mean of the mood, which both modalities share.
_SPEAKER_SPREAD = 0.12
_TURN_SPREAD = 0.30
# Standard deviations of (arousal, valence) of voice and face around the mood, independent of each other: each modality
# shows both, the voice rather arousal, the face rather valence. Together they are more reliable than either.
_VOICE_SPREAD = (0.6, 1.6)
_FACE_SPREAD = (1.6, 0.6)
_LIMIT = 2.0  # of all moods, as the ratings end at 5


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptTurn:
    """One utterance of a dialog."""

    id: str
    speaker: Gender
    emotion: str
    arousal: float  # of the true mood, which is rated, -2 to 2; see MOODS
    valence: float
    voice_arousal: float  # that the voice shows, -2 to 2
    voice_valence: float
    face_arousal: float  # that the face shows, -2 to 2
    face_valence: float
    start: float  # seconds from the start of the dialog, four decimals like the corpus
    end: float
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialog:
    """One recording of the two actors of a session; as in IEMOCAP, the left one wears the markers."""

    name: str
    session: int
    left_speaker: Gender
    turns: tuple[ScriptTurn, ...]
    seconds: float
    b_frames: bool  # whether the video has B-frames
    seed: tuple[int, ...]  # of everything random in its audio and video


def plan_dialogs(utterances: int, seed: int) -> list[Dialog]:
    """Plan all dialogs of a corpus with `utterances` turns of the four classes, in the order of sessions."""
    rng = np.random.default_rng([seed, 0])
    speaker_biases = {
        (s, g): rng.normal(0, _SPEAKER_SPREAD, 2) for s in SESSIONS for g in GENDERS
    }  # of arousal and valence
    shares = {s: utterances // len(SESSIONS) + (s <= utterances % len(SESSIONS)) for s in SESSIONS}
    counts = {session: max(2, round(share / 8)) for session, share in shares.items()}
    # Each person has at most as many turns as a session, others included.
    scenes = plan_scenes(max(counts.values()), 2 + max(shares.values()), seed)
    dialogs = []
    happy = 0
    for session in SESSIONS:
        share = shares[session]
        casting: dict[Gender, list[str]] = {"F": [], "M": []}
        for turn in range(share):
            # The speaker shifts by one after each round of classes, so that each speaker gets each class. The session
            # shifts the classes, so that no class depends on the gender, even with few utterances.
            emotion = CLASSES[(turn + session) % 4]
            if emotion == "hap":
                happy += 1
                emotion = ("hap", "exc")[happy % 2]
            casting[GENDERS[(turn + turn // 4) % 2]].append(emotion)
        for extra in range(max(1, share // 10)):
            casting[GENDERS[(session + extra) % 2]].append(("fru", "xxx")[(session + extra // 2) % 2])
        played = scenes[: counts[session]]
        parts = {gender: cast_scenes(played, gender, emotions, rng) for gender, emotions in casting.items()}
        for index, scene in enumerate(played):
            emotions_of = {gender: parts[gender][index] for gender in GENDERS}
            dialogs.append(_dialog(session, index, scene, emotions_of, speaker_biases, seed, rng))
    return dialogs


def _dialog(
    session: int,
    index: int,
    scene: Scene,
    parts: dict[Gender, list[str]],
    speaker_biases: dict[tuple[int, Gender], NDArray[np.float64]],
    seed: int,
    rng: np.random.Generator,
) -> Dialog:
    left_speaker = GENDERS[index % 2]
    # One name has an additional letter, as some of IEMOCAP: code that counts characters must fail on it.
    name = f"Ses{session:02d}{left_speaker}_{scene.name}{'a' * ((session, index) == (3, 0))}"
    first, second = GENDERS if scene.first == GENDERS[0] else GENDERS[::-1]
    order = [
        (gender, number, emotion)
        for number, pair in enumerate(zip_longest(parts[first], parts[second]))
        for gender, emotion in zip((first, second), pair, strict=True)
        if emotion is not None
    ]
    deviations = np.random.default_rng([seed, session, index, 2])  # of voice and face from the mood
    words = np.random.default_rng([seed, session, index, 3])
    turns = []
    clock = rng.uniform(0.5, 0.9)
    for gender, number, emotion in order:
        length = rng.triangular(1.0, 1.4, 3.0)
        true_mood = np.array(MOODS[emotion]) + speaker_biases[session, gender] + rng.normal(0, _TURN_SPREAD, 2)
        mood, voice, face = (
            np.clip(true_mood + deviation, -_LIMIT, _LIMIT).tolist()
            for deviation in (0, deviations.normal(0, _VOICE_SPREAD), deviations.normal(0, _FACE_SPREAD))
        )
        sentence = scene.sentences[gender][number] if scene.scripted else draw_sentence(emotion, words)
        turns.append(
            ScriptTurn(
                id=f"{name}_{gender}{number:03d}",
                speaker=gender,
                emotion=emotion,
                arousal=mood[0],
                valence=mood[1],
                voice_arousal=voice[0],
                voice_valence=voice[1],
                face_arousal=face[0],
                face_valence=face[1],
                start=round(clock, 4),
                end=round(clock + length, 4),
                text=with_tags(sentence, words),
            )
        )
        clock += length + rng.uniform(0.2, 0.6)
    return Dialog(
        name=name,
        session=session,
        left_speaker=left_speaker,
        turns=tuple(turns),
        seconds=clock + 0.3,
        b_frames=(session + index) % 2 == 0,
        seed=(seed, session, index),
    )
