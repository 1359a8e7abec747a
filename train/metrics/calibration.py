"""Calibration of predicted probabilities (Guo et al. 2017, On Calibration of Modern Neural Networks)."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .classification import Counts, Numbers


class Reliability(NamedTuple):
    """Reliability by bin of confidence, (bins,) each.

    Attributes:
        confidence: mean probability of the predicted class; NaN in an empty bin.
        accuracy: share of correct predictions; NaN in an empty bin.
        counts: utterances.
    """

    confidence: Numbers
    accuracy: Numbers
    counts: Counts


def reliability(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], bins: int = 15
) -> Reliability:
    """Compute a reliability diagram.

    Bins have equal width and are open on the left: bin m of M, from 0, contains the confidences in (m/M, (m+1)/M], the
    first bin also 0.

    Args:
        probabilities: (n, c).
        labels: class numbers, (n,).
        bins: number of bins.

    Raises:
        ValueError: fewer than one bin.
    """
    if bins < 1:
        raise ValueError(f"expected at least one bin, got {bins}")
    confidence = probabilities.max(1).astype(np.float64)
    correct = (probabilities.argmax(1) == labels).astype(np.float64)
    bin_numbers = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    counts = np.bincount(bin_numbers, minlength=bins)
    mean_confidence, accuracy = (
        np.where(counts > 0, np.bincount(bin_numbers, values, minlength=bins) / np.maximum(counts, 1), np.nan)
        for values in (confidence, correct)
    )
    return Reliability(mean_confidence, accuracy, counts)


def expected_calibration_error(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], bins: int = 15
) -> float:
    """Expected calibration error: mean over utterances of |accuracy - confidence| of their bin.

    Args:
        probabilities: (n, c).
        labels: class numbers, (n,).
        bins: number of bins.

    Returns:
        0 to 1; 0 without utterances.
    """
    confidence, accuracy, counts = reliability(probabilities, labels, bins)
    gaps = np.where(counts > 0, np.abs(accuracy - confidence), 0.0)
    return float(gaps @ counts / max(counts.sum(), 1))
