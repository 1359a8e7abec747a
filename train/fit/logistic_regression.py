"""Logistic regression on mean-pooled features, the baseline of every network."""

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
"""Candidates for the inverse regularisation (scikit-learn's C); the best on the development group is used."""


def mean_features(data: Dataset) -> dict[str, NDArray[np.float32]]:
    """Average the valid frames (and layers, if several are stored) of every utterance.

    Returns:
        By modality a table (n, width); NaN for an utterance without valid frames.
    """
    means = {name: torch.full((len(data), shape[-1]), torch.nan) for name, shape in data.features.frame_shapes.items()}
    for chunk in data.features.iter_chunks(torch.arange(len(data))):
        for name, stream in chunk.streams.items():
            for rows, positions in zip(torch.split(chunk.rows, 256), torch.split(chunk.positions, 256), strict=True):
                index = frame_index(stream, positions)
                owner = torch.repeat_interleave(torch.arange(len(positions)), stream.lengths[positions])
                device_index = index.to(stream.values.device)
                valid = stream.valid[device_index].cpu()
                values = stream.values[device_index].float().cpu()
                values = values.mean(1) if values.dim() == 3 else values
                sums = torch.zeros(len(positions), values.shape[-1]).index_add_(0, owner[valid], values[valid])
                counts = torch.bincount(owner[valid], minlength=len(positions))[:, None]
                means[name][rows] = torch.where(counts > 0, sums / counts, torch.nan)
    return {name: table.numpy() for name, table in means.items()}


def regress(data: Dataset, fold: Fold) -> NDArray[np.float32]:
    """Fit a logistic regression on the training rows of a fold and predict its test rows.

    Features are standardised with the statistics of the training group; a missing modality is replaced by its training
    mean. Classes are balanced. The regularisation with the best development UA is used.

    Returns:
        Probabilities (m, c) of the fold's test rows.
    """
    table = np.concatenate(list(mean_features(data).values()), axis=1)
    labels = data.labels.numpy()
    train, dev, test = (rows.numpy() for rows in (fold.train_rows, fold.dev_rows, fold.test_rows))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a modality that is missing everywhere
        mean = np.nan_to_num(np.nanmean(table[train], axis=0))
    table = np.where(np.isnan(table), mean, table)
    best: tuple[float, Any] | None = None
    for strength in STRENGTHS:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=1000))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the development UA decides, converged or not
            model.fit(table[train], labels[train])
        counts = confusion(labels[dev], model.predict(table[dev]), len(data.classes))
        ua = float(unweighted_accuracy(counts))
        if best is None or ua > best[0]:
            best = ua, model
    assert best is not None
    # Every class occurs in the training group (see protocol.check_classes), so the columns are the classes.
    probabilities: NDArray[np.float32] = best[1].predict_proba(table[test]).astype(np.float32)
    return probabilities
