"""Scores per class, speaker, session or fold, and calibration, from tables of probabilities."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from ..metrics.calibration import expected_calibration_error, reliability
from ..metrics.classification import (
    Counts,
    confusion,
    counts_by_speaker,
    macro_f1,
    unweighted_accuracy,
    weighted_accuracy,
)

BINS = 15
"""Bins of the reliability diagram."""


def score_summary(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> dict[str, float | None]:
    """Mean UA, WA and F1 over seeds, and the standard deviation of UA: labels (m,), predicted (seeds, m)."""
    return _summaries(np.stack([confusion(labels, row, classes) for row in predicted])[:, None])[0]


def _summaries(counts: Counts) -> list[dict[str, float | None]]:
    """The summary of each group, from confusion matrices (seeds, groups, c, c)."""
    ua, wa, f1 = (score(counts) for score in (unweighted_accuracy, weighted_accuracy, macro_f1))  # (seeds, groups)
    deviations = ua.std(0, ddof=1).tolist() if len(ua) > 1 else [None] * counts.shape[1]
    columns = zip(ua.mean(0).tolist(), deviations, wa.mean(0).tolist(), f1.mean(0).tolist(), strict=True)
    return [dict(zip(("ua_mean", "ua_std", "wa_mean", "f1_mean"), row, strict=True)) for row in columns]


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
    counts = counts_by_speaker(labels, predicted, groups, classes)
    sizes = counts[0].sum((1, 2)).tolist()
    return {
        name: {**summary, "n": size}
        for name, summary, size in zip(sorted(set(groups)), _summaries(counts), sizes, strict=True)
    }


def rows_by_group(groups: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """The positions of each group's utterances, ascending, by sorted name; one pass for any number of groups."""
    names, number, counts = np.unique(np.asarray(groups, object), return_inverse=True, return_counts=True)
    rows = np.split(np.argsort(number, kind="stable"), np.cumsum(counts))[:-1]
    return dict(zip(map(str, names), rows, strict=True))


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
