"""The most confident mistakes of a run, from the rows of predictions.csv."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .sources import Row

PREFIX = "p_"
"""First characters of the columns of probabilities."""


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """An utterance whose predicted class is wrong.

    Attributes:
        row: its first row of predictions.csv.
        predicted: the class with the largest mean probability over seeds.
        shares: mean probability over seeds by class, (c,).
        classes: names of the classes, c.
    """

    row: Row
    predicted: str
    shares: NDArray[np.float64]
    classes: tuple[str, ...]

    @property
    def confidence(self) -> float:
        """Probability of the predicted class."""
        return float(self.shares.max())


def confident_mistakes(predictions: Sequence[Row], count: int) -> list[Mistake]:
    """The wrong predictions with the largest probability, averaged over seeds, most confident first.

    Args:
        predictions: rows of predictions.csv; without columns of probabilities there are no mistakes.
        count: number of mistakes.
    """
    if not predictions or "label" not in predictions[0]:
        return []
    columns = [name for name in predictions[0] if name.startswith(PREFIX)]
    classes = tuple(name.removeprefix(PREFIX) for name in columns)
    rows: dict[str, list[Row]] = {}
    for row in predictions:
        rows.setdefault(row["id"], []).append(row)
    mistakes = []
    for of_utterance in rows.values():
        shares = np.mean([[float(row[name]) for name in columns] for row in of_utterance], axis=0)
        predicted = classes[int(shares.argmax())]
        if predicted != of_utterance[0]["label"]:
            mistakes.append(Mistake(row=of_utterance[0], predicted=predicted, shares=shares, classes=classes))
    return sorted(mistakes, key=lambda mistake: (-mistake.confidence, mistake.row["id"]))[:count]
