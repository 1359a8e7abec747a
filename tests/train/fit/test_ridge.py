"""Tests of ridge regression of ratings."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from foal.tests.train.fit.small_fit import first_fold
from foal.train.data.dataset import Dataset
from foal.train.data.pooled import pooled_features
from foal.train.fit.ridge import fit_ridge
from foal.train.metrics.regression import group_scores
from foal.train.targets.columns import Targets


def rated(data: Dataset) -> Dataset:
    """Ratings that are linear in the mean of the first audio feature; a fifth of the second dimension is missing."""
    feature = np.nan_to_num(pooled_features(data)["audio"][:, 0])
    ratings = torch.tensor(np.stack([3 + feature, 2 - 0.5 * feature], 1), dtype=torch.float32)
    ratings[::5, 1] = torch.nan
    return replace(data, targets=Targets(dimensions=("valence", "arousal"), ratings=ratings))


def test_linear_ratings_are_found(make_dataset: Callable[..., Dataset]) -> None:
    data = rated(make_dataset(150, c=2))
    fold = first_fold(data)
    assert data.targets.ratings is not None
    scores = group_scores(
        data.targets.ratings[fold.test_rows].numpy(), fit_ridge(data, fold, ("mean", "std")), data.targets.dimensions
    )
    assert min(score["ccc"] for score in scores.values()) > 0.9


def test_test_ratings_are_not_read(make_dataset: Callable[..., Dataset]) -> None:
    data = rated(make_dataset(60, c=2))
    fold = first_fold(data)
    assert data.targets.ratings is not None
    ratings = data.targets.ratings.clone()
    ratings[fold.test_rows] = torch.nan
    hidden = replace(data, targets=replace(data.targets, ratings=ratings))
    for refit in (False, True):
        np.testing.assert_array_equal(
            fit_ridge(hidden, fold, ("mean",), refit=refit), fit_ridge(data, fold, ("mean",), refit=refit)
        )
