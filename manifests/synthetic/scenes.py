"""The scenes of the synthetic corpus: as in IEMOCAP, all sessions play the same scripts and improvise on one topic.

A scene has an emotion for each place in it, which the actors follow more often than not, and a script also has its
words. A model can therefore learn the place instead of the emotion, unless a whole scene is held out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .cast import Gender
from .words import draw_sentence

GENDERS: tuple[Gender, Gender] = ("F", "M")
CLASSES = ("neu", "hap", "sad", "ang")

SCRIPT_FOLLOWED, TOPIC_FOLLOWED = 0.6, 0.35
"""Share of places whose emotion a session takes from the scene, if it has that emotion left."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """A script, or a topic of improvisation.

    Attributes:
        name: the dialog's name without session and left speaker, such as script01_1.
        scripted: whether the words are given.
        first: who speaks first.
        emotions: by gender the class of each of its turns.
        sentences: by gender the words of each of its turns.
    """

    name: str
    scripted: bool
    first: Gender
    emotions: dict[Gender, Sequence[str]]
    sentences: dict[Gender, Sequence[str]]

    @property
    def followed(self) -> float:
        """Share of its places whose emotion a session follows."""
        return SCRIPT_FOLLOWED if self.scripted else TOPIC_FOLLOWED


def scene_name(index: int) -> str:
    """The name of a session's dialog: improvised, scripted, scripted, improvised, and so on, each another scene."""
    number = 2 * (index // 4)
    if index % 4 in (0, 3):
        return f"impro{number + 1 + (index % 4 == 3):02d}"
    script = number + (index % 4 == 2)
    # As in IEMOCAP, a script has up to three parts.
    return f"script{script // 9 * 3 + script % 3 + 1:02d}_{script % 9 // 3 + 1}"


def plan_scenes(count: int, turns: int, seed: int) -> list[Scene]:
    """Plan the scenes that all sessions play.

    Args:
        count: number of scenes.
        turns: turns of each person in a scene.
        seed: of everything random.

    Returns:
        The scenes. At each place in a scene, all classes are equally frequent over the scenes.
    """
    rng = np.random.default_rng([seed, 3])
    emotions = {
        gender: np.stack([rng.permutation(np.resize(CLASSES, count)) for _ in range(turns)], axis=1)
        for gender in GENDERS
    }
    return [
        Scene(
            name=scene_name(index),
            scripted=scene_name(index).startswith("script"),
            first=GENDERS[rng.integers(2)],
            emotions={gender: emotions[gender][index].tolist() for gender in GENDERS},
            sentences={
                gender: [draw_sentence(emotion, rng) for emotion in emotions[gender][index]] for gender in GENDERS
            },
        )
        for index in range(count)
    ]


def cast_scenes(
    scenes: Sequence[Scene], gender: Gender, emotions: Sequence[str], rng: np.random.Generator
) -> list[list[str]]:
    """Distribute the emotions of one person over the scenes of a session.

    Args:
        scenes: the scenes.
        gender: the person.
        emotions: all emotions of the person's turns, of which `exc` counts as hap.
        rng: decides where the scene is followed.

    Returns:
        For each scene the emotion of each turn; together they are the given ones.
    """
    left = list(emotions)
    rng.shuffle(left)
    places = [(number % len(scenes), number // len(scenes)) for number in range(len(left))]
    given: dict[tuple[int, int], str] = {}
    for at in rng.permutation(len(places)).tolist():
        scene, turn = places[at]
        wanted = scenes[scene].emotions[gender][turn]
        match = next((emotion for emotion in left if _class(emotion) == wanted), None)
        if rng.random() < scenes[scene].followed and match is not None:
            left.remove(match)
            given[scene, turn] = match
    return [
        [given[place] if place in given else left.pop() for place in places if place[0] == scene]
        for scene in range(len(scenes))
    ]


def _class(emotion: str) -> str:
    return "hap" if emotion == "exc" else emotion
