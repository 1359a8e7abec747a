"""CCC and MAE of predicted ratings, and their intervals.

Both follow from sums over utterances, kept by speaker so that a bootstrap resample is a weighted sum. CCC is the
concordance correlation coefficient of Lin (1989) with population moments over all utterances pooled:
2 cov / (var_x + var_y + (mean_x - mean_y)^2).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .classification import Numbers, draw_speakers, student_interval

Sums = NDArray[np.float64]
"""(..., 7): count, sums of x, y, x^2, y^2, xy and |x - y|, with x predicted and y true ratings."""


def rating_sums(truth: NDArray[Any], predicted: NDArray[Any], speakers: Sequence[str]) -> Sums:
    """The sums of one dimension by speaker.

    Args:
        truth: ratings, (n,), NaN for utterances without one, which do not count.
        predicted: predicted ratings, (seeds, n).
        speakers: speaker names, n.

    Returns:
        (seeds, speakers, 7), speakers with ratings only, sorted by name.
    """
    rated = ~np.isnan(truth)
    names, speaker = np.unique(np.asarray(speakers, object)[rated], return_inverse=True)
    # Moments of numbers around their mean lose no digits. CCC and MAE do not change if both are shifted.
    centre = truth[rated].mean() if rated.any() else 0.0
    y = np.broadcast_to(truth[rated].astype(np.float64) - centre, (len(predicted), int(rated.sum())))
    x = predicted[:, rated].astype(np.float64) - centre
    each = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y, np.abs(x - y)], -1)  # (seeds, m, 7)
    sums = np.zeros((len(predicted), len(names), 7))
    for seed, rows in enumerate(each):
        np.add.at(sums[seed], speaker, rows)
    return sums


def concordance(sums: Sums) -> Numbers:
    """CCC, (..., 7) -> (...); 0 where it is undefined: no utterance, or equal constants."""
    count = np.maximum(sums[..., 0], 1)
    x, y, xx, yy, xy = np.moveaxis(sums[..., 1:6] / count[..., None], -1, 0)
    spread = (xx - x * x) + (yy - y * y) + (x - y) ** 2
    return np.asarray(np.where(spread > 1e-12, 2 * (xy - x * y) / np.maximum(spread, 1e-12), 0.0))


def absolute_error(sums: Sums) -> Numbers:
    """MAE, (..., 7) -> (...); 0 without any utterance."""
    return np.asarray(sums[..., 6] / np.maximum(sums[..., 0], 1))


_SCORES = {"ccc": (concordance, -1.0, 1.0), "mae": (absolute_error, 0.0, np.inf)}


def group_scores(truth: NDArray[Any], predicted: NDArray[Any], dimensions: Sequence[str]) -> dict[str, Any]:
    """CCC, MAE and number of rated utterances of a group by dimension.

    Args:
        truth: ratings, (m, k), NaN for none.
        predicted: predicted ratings, (m, k).
        dimensions: their names, k.

    Returns:
        By dimension `ccc` (None if the ratings are constant, or fewer than two), `mae` (None without any) and `n`.
    """
    scores = {}
    for column, name in enumerate(dimensions):
        y = truth[:, column]
        sums = rating_sums(y, predicted[None, :, column], [""] * len(y)).sum((0, 1))
        rated = y[~np.isnan(y)]
        varied = len(rated) > 1 and bool((rated != rated[0]).any())
        scores[name] = {
            "ccc": float(concordance(sums)) if varied else None,
            "mae": float(absolute_error(sums)) if len(rated) else None,
            "n": len(rated),
        }
    return scores


def mean_concordance(scores: dict[str, Any]) -> float | None:
    """The mean CCC of the dimensions of `group_scores` that have one; None without any."""
    values = [score["ccc"] for score in scores.values() if score["ccc"] is not None]
    return float(np.mean(values)) if values else None


def rating_scores(
    truth: NDArray[Any],
    predicted: NDArray[Any],
    speakers: Sequence[str],
    *,
    dimensions: Sequence[str],
    resamples: int,
) -> dict[str, Any]:
    """The scores of ratings in metrics.json, over all folds.

    Each seed's folds are pooled. Mean and sample standard deviation are over seeds; the deviation of one seed is None.
    Intervals are of the mean over seeds, from resampled speakers with Student's t, as those of UA; None for a single
    speaker.

    Args:
        truth: ratings, (n, k), NaN for none.
        predicted: predicted ratings, (seeds, n, k).
        speakers: speaker names, n.
        dimensions: names of the dimensions, k.
        resamples: bootstrap resamples of the intervals.

    Returns:
        For `ccc` and `mae`, means over the dimensions, `NAME_mean`, `NAME_std`, `NAME_per_seed`, `NAME_ci95`; the same
        of each dimension, and its number of ratings `n`, in `dimensions`.
    """
    by_dimension = {}
    for column, name in enumerate(dimensions):
        own = rating_sums(truth[:, column], predicted[..., column], speakers)
        by_dimension[name] = {"n": int(own[0, :, 0].sum()), **_summary(own[:, None], resamples)}
    return {**_summary(_sums_by_dimension(truth, predicted, speakers), resamples), "dimensions": by_dimension}


def concordance_gain(
    truth: NDArray[Any],
    system: NDArray[Any],
    baseline: NDArray[Any],
    speakers: Sequence[str],
    *,
    resamples: int,
) -> dict[str, Any]:
    """Difference in CCC (mean over dimensions and seeds) of two systems, with the same speakers drawn for both.

    Args:
        truth: ratings, (n, k), NaN for none.
        system: predicted ratings of the system, (seeds, n, k).
        baseline: those of the baseline, with as many or other seeds.
        speakers: speaker names, n.
        resamples: bootstrap resamples of the interval.

    Returns:
        `gain` and `gain_ci95` (None for a single speaker).
    """
    sums = [_sums_by_dimension(truth, predicted, speakers) for predicted in (system, baseline)]
    gain = float(np.subtract(*(concordance(part.sum(2)).mean() for part in sums)))
    count = sums[0].shape[2]
    if count < 2:
        return {"gain": gain, "gain_ci95": None}
    draws = draw_speakers(count, resamples)
    drawn = [concordance(np.einsum("rs,kdsm->rkdm", draws, part)).mean((1, 2)) for part in sums]
    return {"gain": gain, "gain_ci95": student_interval(drawn[0] - drawn[1], gain, count)}


def _sums_by_dimension(truth: NDArray[Any], predicted: NDArray[Any], speakers: Sequence[str]) -> Sums:
    """The sums (seeds, k, speakers, 7); zeros for a speaker without ratings: all dimensions have all speakers."""
    every = np.array(sorted(set(speakers)), object)
    sums = np.zeros((len(predicted), truth.shape[1], len(every), 7))
    for column, y in enumerate(truth.T):
        rated = sorted({speaker for speaker, value in zip(speakers, y, strict=True) if not np.isnan(value)})
        sums[:, column, np.searchsorted(every, np.array(rated, object))] = rating_sums(
            y, predicted[..., column], speakers
        )
    return sums


def _summary(sums: Sums, resamples: int) -> dict[str, Any]:
    """Mean over dimensions of each score, from sums (seeds, k, speakers, 7)."""
    speakers = sums.shape[2]
    summary: dict[str, Any] = {}
    for name, (score, low, high) in _SCORES.items():
        values = score(sums.sum(2)).mean(1)  # (seeds,)
        summary[f"{name}_mean"] = float(values.mean())
        summary[f"{name}_std"] = float(values.std(ddof=1)) if len(values) > 1 else None
        summary[f"{name}_per_seed"] = values.tolist()
        interval = None
        if speakers > 1:
            drawn = np.einsum("rs,kdsm->rkdm", draw_speakers(speakers, resamples), sums)
            ends = student_interval(score(drawn).mean((1, 2)), float(values.mean()), speakers)
            interval = [max(low, ends[0]), min(high, ends[1])]
        summary[f"{name}_ci95"] = interval
    return summary
