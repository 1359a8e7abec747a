"""UA, WA, macro F1 and their intervals from confusion matrices (..., c, c): row = truth, column = prediction."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t
from sklearn.metrics import confusion_matrix

Counts = NDArray[np.int64]
Numbers = NDArray[np.float64]

BOOTSTRAP_SEED = 0


def confusion(labels: NDArray[np.integer[Any]], predicted: NDArray[np.integer[Any]], classes: int) -> Counts:
    """Confusion matrix (c, c) of labels (n,) and predicted classes (n,)."""
    if len(labels) == 0:
        return np.zeros((classes, classes), np.int64)
    counts: Counts = confusion_matrix(labels, predicted, labels=range(classes)).astype(np.int64)
    return counts


def recalls(counts: Counts) -> Numbers:
    """Recall of each class, (..., c, c) -> (..., c); NaN where the class does not occur."""
    hits, truths = np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1)
    return np.where(truths > 0, hits / np.maximum(truths, 1), np.nan)


def unweighted_accuracy(counts: Counts) -> Numbers:
    """UA: mean recall over the classes that occur, (..., c, c) -> (...); 0 without any."""
    return _mean_over_present(recalls(counts), counts)


def weighted_accuracy(counts: Counts) -> Numbers:
    """WA: plain accuracy, (..., c, c) -> (...); 0 without any utterance."""
    hits, total = np.trace(counts, axis1=-2, axis2=-1), counts.sum((-2, -1))
    return np.asarray(hits / np.maximum(total, 1))


def macro_f1(counts: Counts) -> Numbers:
    """F1 averaged over the classes that occur, (..., c, c) -> (...); 0 without any."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return _mean_over_present(2 * hits / np.maximum(counts.sum(-1) + counts.sum(-2), 1), counts)


def bootstrap_intervals(by_speaker: Counts, *, resamples: int) -> dict[str, list[float] | None]:
    """95% intervals of UA and WA from resampled speakers.

    Utterances of a speaker are not independent, so whole speakers are drawn. The statistic is the mean over seeds of
    the pooled score. See `student_interval` for the width.

    Args:
        by_speaker: confusion matrices, (seeds, speakers, c, c).
        resamples: bootstrap resamples.

    Returns:
        [low, high] of "ua" and "wa"; None for a single speaker.
    """
    speakers = by_speaker.shape[1]
    if speakers < 2:
        return {"ua": None, "wa": None}
    draws = draw_speakers(speakers, resamples)
    resampled = np.einsum("rs,kscd->rkcd", draws, by_speaker)  # resamples, seeds, c, c
    intervals: dict[str, list[float] | None] = {}
    for name, score in (("ua", unweighted_accuracy), ("wa", weighted_accuracy)):
        estimate = float(score(by_speaker.sum(1)).mean())
        low, high = student_interval(score(resampled).mean(1), estimate, speakers)
        intervals[name] = [max(0.0, low), min(1.0, high)]
    return intervals


def student_interval(resampled: Numbers, estimate: float, speakers: int) -> list[float]:
    """95% interval from the deviation of bootstrap resamples and Student's t.

    The percentile interval over S speakers covers 80% (4 speakers) to 93% (24) instead of 95%: the resamples have
    (S - 1) / S of the variance, and the normal quantile ignores that the variance is estimated. For a mean over
    speakers this is the usual t interval. A simulation in tests/train/metrics measures the coverage.

    Args:
        resampled: the statistic of each resample, (r,).
        estimate: the statistic of the data.
        speakers: number of speakers, S, at least 2.

    Returns:
        [low, high].
    """
    error = float(resampled.std()) * math.sqrt(speakers / (speakers - 1))
    reach = error * float(student_t.ppf(0.975, speakers - 1))
    return [estimate - reach, estimate + reach]


def counts_by_speaker(
    labels: NDArray[np.integer[Any]], predicted: NDArray[np.integer[Any]], speakers: Sequence[str], classes: int
) -> Counts:
    """Confusion matrices by speaker.

    Args:
        labels: class numbers, (n,).
        predicted: predicted class numbers, (seeds, n).
        speakers: speaker names, n.
        classes: number of classes, c.

    Returns:
        (seeds, speakers, c, c), speakers sorted by name.
    """
    names, speaker = np.unique(np.asarray(speakers, object), return_inverse=True)
    cell = (speaker * classes + labels) * classes + predicted  # (seeds, n)
    counts = [np.bincount(row, minlength=len(names) * classes**2) for row in cell]
    return np.stack(counts).reshape(-1, len(names), classes, classes)


def mean_ua(by_speaker: Counts) -> float:
    """UA of all speakers pooled, averaged over seeds: (seeds, speakers, c, c) -> number."""
    return float(unweighted_accuracy(by_speaker.sum(1)).mean())


def pooled_scores(
    labels: NDArray[np.integer[Any]],
    predicted: NDArray[np.integer[Any]],
    speakers: Sequence[str],
    *,
    classes: Sequence[str],
    resamples: int,
) -> dict[str, Any]:
    """Compute the scores of metrics.json over all folds.

    Each seed's folds are pooled, which gives the scores `per_seed`. Mean and sample standard deviation are over seeds;
    the deviation of one seed is None. The confusion matrix is the sum over seeds, so that its rows sum to seeds times
    utterances.

    Args:
        labels: class numbers, (n,).
        predicted: predicted class numbers, (seeds, n).
        speakers: speaker names, n.
        classes: class names, c.
        resamples: bootstrap resamples of the intervals.
    """
    by_speaker = counts_by_speaker(labels, predicted, speakers, len(classes))
    per_seed = by_speaker.sum(1)  # (seeds, c, c)
    total = per_seed.sum(0)
    scores: dict[str, Any] = {}
    for name, score in (("ua", unweighted_accuracy), ("wa", weighted_accuracy), ("f1", macro_f1)):
        values = score(per_seed)
        scores[f"{name}_mean"] = float(values.mean())
        scores[f"{name}_std"] = float(values.std(ddof=1)) if len(values) > 1 else None
        scores[f"{name}_per_seed"] = values.tolist()
    for name, interval in bootstrap_intervals(by_speaker, resamples=resamples).items():
        scores[f"{name}_ci95"] = interval
    scores["per_class_recall"] = {
        name: None if np.isnan(value) else float(value) for name, value in zip(classes, recalls(total), strict=True)
    }
    scores["confusion"] = total.tolist()
    return scores


def seed_average_scores(
    labels: NDArray[np.integer[Any]],
    probabilities: NDArray[np.floating[Any]],
    speakers: Sequence[str],
    *,
    classes: Sequence[str],
    resamples: int,
) -> dict[str, Any] | None:
    """Scores of the average of the seeds' probabilities, with intervals; None for a single seed.

    Args:
        labels: class numbers, (n,).
        probabilities: (seeds, n, c).
        speakers: speaker names, n.
        classes: class names, c.
        resamples: bootstrap resamples of the intervals.
    """
    if len(probabilities) < 2:
        return None
    predicted = np.mean(probabilities, axis=0).argmax(1)[None]
    scores = pooled_scores(labels, predicted, speakers, classes=classes, resamples=resamples)
    return {key: scores[key] for key in ("ua_mean", "wa_mean", "f1_mean", "ua_ci95", "wa_ci95")}


def _mean_over_present(per_class: Numbers, counts: Counts) -> Numbers:
    present = counts.sum(-1) > 0
    return np.asarray(np.where(present, per_class, 0.0).sum(-1) / np.maximum(present.sum(-1), 1))


def draw_speakers(speakers: int, resamples: int) -> NDArray[np.int64]:
    """Draw speakers with replacement: how often each resample contains each speaker, (resamples, speakers).

    The same number of speakers gives the same draws, so that all intervals use the same resamples.
    """
    return np.random.default_rng(BOOTSTRAP_SEED).multinomial(speakers, [1 / speakers] * speakers, size=resamples)
