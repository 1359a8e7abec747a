"""The scores of a run in metrics.json: of classes, and of ratings, from the predictions of all seeds."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..data.dataset import Dataset
from ..data.protocol import CrossValidation
from ..floor.folds import floor_json, script_floor
from ..metrics.classification import pooled_scores, seed_average_scores
from ..metrics.regression import rating_scores


def class_metrics(data: Dataset, folds: CrossValidation, tables: NDArray[np.float32], resamples: int) -> dict[str, Any]:
    """Scores of classes and the script floor, from probabilities (seeds, m, c) of the tested utterances."""
    tested = folds.tested
    labels, speakers = data.labels[tested].numpy(), [data.speakers[row] for row in tested]
    return {
        **pooled_scores(labels, tables.argmax(-1), speakers, classes=data.classes, resamples=resamples),
        "seed_average": seed_average_scores(labels, tables, speakers, classes=data.classes, resamples=resamples),
        "script_floor": floor_json(data, script_floor(data, folds), tested.numpy()),
    }


def rating_metrics(data: Dataset, tested: Tensor, predicted: NDArray[np.float32], resamples: int) -> dict[str, Any]:
    """Scores of predicted ratings (seeds, m, k) of the tested utterances, as `ratings`; empty without ratings."""
    if data.targets.ratings is None:
        return {}
    scores = rating_scores(
        data.targets.ratings[tested].numpy(),
        predicted,
        [data.speakers[row] for row in tested],
        dimensions=data.targets.dimensions,
        resamples=resamples,
    )
    return {"ratings": scores}
