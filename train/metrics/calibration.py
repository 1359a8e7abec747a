"""Do the probabilities mean what they say? Guo et al. 2017, On Calibration of Modern Neural Networks."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .classification import Counts, Numbers


class Reliability(NamedTuple):
    """Of the utterances of each bin, (bins) each; confidence and accuracy are NaN in an empty bin.

    confidence: mean probability of the predicted class; accuracy: share of right predictions; counts: utterances.
    """

    confidence: Numbers
    accuracy: Numbers
    counts: Counts


def reliability(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], bins: int = 15
) -> Reliability:
    """What a reliability diagram shows: probabilities (n, c), labels (n).

    Bins are of equal width, open on the left: bin m of M, from 0, holds the confidences in (m/M, (m+1)/M], and the
    first also 0. Raises ValueError for fewer than one bin.
    """
    if bins < 1:
        raise ValueError(f"expected at least one bin, got {bins}")
    confidence = probabilities.max(1).astype(np.float64)
    right = (probabilities.argmax(1) == labels).astype(np.float64)
    where = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    counts = np.bincount(where, minlength=bins)
    mean_confidence, accuracy = (
        np.where(counts > 0, np.bincount(where, values, minlength=bins) / np.maximum(counts, 1), np.nan)
        for values in (confidence, right)
    )
    return Reliability(mean_confidence, accuracy, counts)


def expected_calibration_error(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], bins: int = 15
) -> float:
    """ECE: mean over utterances of |accuracy - confidence| of their bin, 0 to 1; 0 without any utterance."""
    confidence, accuracy, counts = reliability(probabilities, labels, bins)
    gaps = np.where(counts > 0, np.abs(accuracy - confidence), 0.0)
    return float(gaps @ counts / max(counts.sum(), 1))
