"""Scores per class, speaker, session or fold, and calibration, from tables of probabilities."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from ..metrics.calibration import expected_calibration_error, reliability
from ..metrics.classification import confusion, macro_f1, unweighted_accuracy, weighted_accuracy

BINS = 15
"""Bins of the reliability diagram."""


def score_summary(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> dict[str, float | None]:
    """Mean UA, WA and F1 over seeds, and the standard deviation of UA: labels (m,), predicted (seeds, m)."""
    counts = np.stack([confusion(labels, row, classes) for row in predicted])
    ua = unweighted_accuracy(counts)
    return {
        "ua_mean": float(ua.mean()),
        "ua_std": float(ua.std(ddof=1)) if len(ua) > 1 else None,
        "wa_mean": float(weighted_accuracy(counts).mean()),
        "f1_mean": float(macro_f1(counts).mean()),
    }


def class_scores(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of each class over all seeds, and its number of utterances."""
    truth = np.tile(labels, len(predicted))
    columns = precision_recall_fscore_support(truth, predicted.ravel(), labels=range(len(classes)), zero_division=0.0)
    names = ("precision", "recall", "f1")
    return {
        label: {
            **{name: float(columns[column][c]) for column, name in enumerate(names)},
            "n": int(columns[3][c]) // len(predicted),
        }
        for c, label in enumerate(classes)
    }


def group_scores(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], groups: Sequence[str], classes: int
) -> dict[str, dict[str, Any]]:
    """`score_summary` of each group, and its number of utterances; groups: one name per utterance, m."""
    names = np.asarray(groups, object)
    return {
        str(name): {
            **score_summary(labels[names == name], predicted[:, names == name], classes),
            "n": int((names == name).sum()),
        }
        for name in np.unique(names)
    }


def calibration(tables: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, Any]:
    """ECE (mean over seeds), and the reliability bins of all seeds pooled: tables (seeds, m, c), labels (m,)."""
    errors = [expected_calibration_error(table, labels, BINS) for table in tables]
    bins = reliability(tables.reshape(-1, tables.shape[-1]), np.tile(labels, len(tables)), BINS)

    def without_nan(values: NDArray[Any]) -> list[float | None]:
        return [None if np.isnan(value) else float(value) for value in values]

    return {
        "ece_mean": float(np.mean(errors)),
        "ece_std": float(np.std(errors, ddof=1)) if len(errors) > 1 else None,
        "bins": {
            "confidence": without_nan(bins.confidence),
            "accuracy": without_nan(bins.accuracy),
            "counts": [int(count) for count in bins.counts],
        },
    }
