"""A label table of IEMOCAP's structure: five sessions of two roles, seven parts of three plays, and eight scenarios.

Every part of a scene has, for each role, a curve of classes over the relative time of the dialog; a label is the class
of the curve, or with probability NOISE one of the other classes. Performances differ in tempo and in their numbers of
turns, so that only the relative time locates a turn. The expected accuracy of each predictor follows from the curves.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from foal.shared.utterance import Utterance

CLASSES = ("ang", "hap", "neu", "sad")
PARTS = ("script01_1", "script01_2", "script01_3", "script02_1", "script02_2", "script03_1", "script03_2")
SCENARIOS = tuple(f"impro0{k}" for k in range(1, 9))
SEGMENTS = 4
NOISE = 0.2
UNLABELLED = 0.4
"""Share of turns without a label; each dialog also ends with one, so that labelled turns do not show its length."""


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """All turns, and the expected accuracy by level of the best predictor that knows the curves."""

    turns: list[Utterance]
    expected: dict[str, float]


def label_table(seed: int = 0, *, turns: int = 66) -> LabelTable:
    """Draw a table of 5 sessions x 15 parts x 2 performances, `turns` turns each on average, with two speakers."""
    rng = np.random.default_rng(seed)
    curves = {(part, role): rng.integers(4, size=SEGMENTS) for part, role in product((*PARTS, *SCENARIOS), "FM")}
    table: list[Utterance] = []
    for session, part, letter in product(range(1, 6), (*PARTS, *SCENARIOS), "FM"):
        dialog = f"Ses0{session}{letter}_{part}" + ("b" if (session, part, letter) == (5, "script01_1", "M") else "")
        count = int(turns * rng.uniform(0.8, 1.2))
        pace = rng.uniform(2.0, 6.0)  # seconds per turn
        starts = np.sort(rng.uniform(0.0, count * pace, count))
        length = count * pace + 5.0
        for turn, start in enumerate([*starts, length - 1.0]):
            role = "FM"[int(rng.integers(2))]
            label = CLASSES[curve_class(curves[part, role], start / length)]
            if rng.random() < NOISE:
                label = str(rng.choice([name for name in CLASSES if name != label]))
            context = turn == count or rng.random() < UNLABELLED
            table.append(
                Utterance(
                    id=f"{dialog}_{role}{turn:03}",
                    corpus="iemocap-like",
                    session=f"session{session}",
                    speaker=f"Ses0{session}{role}",
                    gender=role,
                    label="" if context else label,
                    audio=f"{dialog}.wav",
                    start=float(start),
                    end=float(min(start + 1.0, length)),
                    dialog=dialog,
                    turn=turn,
                    scene=part.partition("_")[0],
                )
            )
    return LabelTable(turns=table, expected=_expected(curves))


def curve_class(curve: np.ndarray, time: float) -> int:
    """The class of a curve at a relative time: constant within each segment."""
    return int(curve[min(int(time * SEGMENTS), SEGMENTS - 1)])


def _expected(curves: dict[tuple[str, str], np.ndarray]) -> dict[str, float]:
    """Expected accuracy of predicting the most frequent class of a part, of a part and role, and of a moment."""
    mixing = np.full((4, 4), NOISE / 3) + np.eye(4) * (1 - 4 * NOISE / 3)  # class of the curve -> label
    shares = {key: mixing[curve].mean(0) for key, curve in curves.items()}
    parts = sorted({part for part, _ in shares})
    return {
        "scenario": float(np.mean([(shares[part, "F"] + shares[part, "M"]).max() / 2 for part in parts])),
        "role": float(np.mean([share.max() for share in shares.values()])),
        "time": 1 - NOISE,
    }
