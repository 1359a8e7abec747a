"""Logistic regression on mean-pooled features: what any network has to beat."""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..data.dataset import Dataset
from ..data.protocol import Fold
from ..data.sequences import frame_index
from ..metrics.classification import confusion, unweighted_accuracy

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse regularisation (scikit-learn's C) that the development group chooses from."""


def mean_features(data: Dataset) -> dict[str, NDArray[np.float32]]:
    """Means over the valid frames (and layers, if several are stored) of all utterances, (n, width) by modality.

    NaN for an utterance without one.
    """
    means = {name: torch.full((len(data), shape[-1]), torch.nan) for name, shape in data.features.frame_shapes.items()}
    for visit in data.features.visits(torch.arange(len(data))):
        for name, stream in visit.streams.items():
            for rows, positions in zip(torch.split(visit.rows, 256), torch.split(visit.positions, 256), strict=True):
                index = frame_index(stream, positions)
                owner = torch.repeat_interleave(torch.arange(len(positions)), stream.lengths[positions])
                where = index.to(stream.values.device)
                valid = stream.valid[where].cpu()
                values = stream.values[where].float().cpu()
                values = values.mean(1) if values.dim() == 3 else values
                sums = torch.zeros(len(positions), values.shape[-1]).index_add_(0, owner[valid], values[valid])
                counts = torch.bincount(owner[valid], minlength=len(positions))[:, None]
                means[name][rows] = torch.where(counts > 0, sums / counts, torch.nan)
    return {name: table.numpy() for name, table in means.items()}


def regress(data: Dataset, fold: Fold) -> NDArray[np.float32]:
    """Probabilities (m, c) of the fold's test rows; the development group chooses the regularisation.

    Features are standardised by the training group, whose mean also stands in for a modality that is missing. Classes
    weigh alike.
    """
    table = np.concatenate(list(mean_features(data).values()), axis=1)
    labels = data.labels.numpy()
    train, dev, test = (rows.numpy() for rows in (fold.train_rows, fold.dev_rows, fold.test_rows))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a modality that is missing everywhere
        middle = np.nan_to_num(np.nanmean(table[train], axis=0))
    table = np.where(np.isnan(table), middle, table)
    best: tuple[float, Any] | None = None
    for strength in STRENGTHS:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=1000))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the development group judges what came out
            model.fit(table[train], labels[train])
        counts = confusion(labels[dev], model.predict(table[dev]), len(data.classes))
        ua = float(unweighted_accuracy(counts))
        if best is None or ua > best[0]:
            best = ua, model
    assert best is not None
    # Every class is in the training group (see protocol.check_classes), so the columns are the classes.
    probabilities: NDArray[np.float32] = best[1].predict_proba(table[test]).astype(np.float32)
    return probabilities
