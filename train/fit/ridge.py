"""Ridge regression of ratings on one vector per utterance, the baseline of networks that predict ratings."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ..data.dataset import Dataset
from ..data.pooled import Part
from ..data.protocol import Fold
from ..metrics.regression import group_scores
from .baselines import imputed_features

STRENGTHS = (1e5, 1e4, 1e3, 1e2, 1e1, 1.0)
"""Candidates for the regularization; of equally good ones the strongest is used."""


def fit_ridge(data: Dataset, fold: Fold, parts: Sequence[Part], *, refit: bool = False) -> NDArray[np.float32]:
    """Fit one regression per dimension on the training rows of a fold and predict the ratings of its test rows.

    Features are standardized with the statistics of the training group; a missing modality is replaced by its training
    mean. The regularization with the best development CCC is used.

    Args:
        data: the dataset, with ratings.
        fold: rows of the training, development and test groups.
        parts: parts of the pooled features.
        refit: fit once more on training and development group with the chosen regularization.

    Returns:
        Predicted ratings (m, k) of the fold's test rows.
    """
    assert data.targets.ratings is not None
    table, ratings = imputed_features(data, fold, parts), data.targets.ratings.numpy()
    dev, test = fold.dev_rows.numpy(), fold.test_rows.numpy()
    predicted = np.zeros((len(test), ratings.shape[1]), np.float32)
    for column in range(ratings.shape[1]):
        best: tuple[float, float, Pipeline] | None = None
        for strength in STRENGTHS:
            model = _fitted(table, ratings[:, column], fold.train_rows.numpy(), strength)
            scores = group_scores(ratings[dev, column, None], model.predict(table[dev])[:, None], [""])[""]
            ccc = -1.0 if scores["ccc"] is None else scores["ccc"]
            if best is None or ccc > best[0]:
                best = ccc, strength, model
        assert best is not None
        model = best[2]
        if refit and not fold.dev_is_test:
            model = _fitted(table, ratings[:, column], fold.refit_rows.numpy(), best[1])
        predicted[:, column] = model.predict(table[test])
    return predicted


def _fitted(
    table: NDArray[np.float32], ratings: NDArray[np.float32], rows: NDArray[np.int64], strength: float
) -> Pipeline:
    """Fit on those of some rows that have a rating."""
    rated = rows[~np.isnan(ratings[rows])]
    return make_pipeline(StandardScaler(), Ridge(alpha=strength)).fit(table[rated], ratings[rated])
