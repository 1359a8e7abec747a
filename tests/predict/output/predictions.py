"""Predictions for tests of the output."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from foal.predict.output.prediction import ClipPredictions, Failed, Prediction

CLASSES = ("ang", "hap", "sad")


def prediction(
    name: str = "a.mp4",
    start: float = 0.0,
    end: float = 4.0,
    probabilities: Sequence[float] = (0.2, 0.7, 0.1),
    **more: Any,
) -> Prediction:
    settings: dict[str, Any] = {"id": f"/m/{name}", "media": "/m/a.mp4", "part": "clip", "ratings": {}, "missing": {}}
    settings |= more
    return Prediction(name=name, start=start, end=end, probabilities=np.array(probabilities, np.float32), **settings)


def windows(count: int, probabilities: Sequence[Sequence[float]] = (), **more: Any) -> list[Prediction]:
    """Windows of two seconds, one second apart."""
    tables = probabilities or [(0.2, 0.7, 0.1)] * count
    return [
        prediction(start=float(n), end=n + 2.0, probabilities=tables[n], part="window", **more) for n in range(count)
    ]


def result_of(*rows: Prediction, failures: Sequence[Failed] = (), **more: Any) -> ClipPredictions:
    settings = {"model": "main", "classes": CLASSES, "ratings": ()} | more
    return ClipPredictions(predictions=tuple(rows), failures=tuple(failures), **settings)
