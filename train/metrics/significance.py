"""Comparison of two systems, paired by speaker, on confusion matrices (seeds, speakers, c, c): row = truth."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import permutation_test

from .classification import Counts, Numbers, draw_speakers, mean_ua, student_interval

PERMUTATION_SEED = 0
MAX_PERMUTATIONS = 10_000
"""Permutations of a test; up to 13 speakers all are enumerated and the p value is exact."""


def paired_permutation(system: Counts, baseline: Counts, *, permutations: int = MAX_PERMUTATIONS) -> float:
    """Two-sided p value of the difference in UA (mean over seeds of the pooled UA), from swapping speakers.

    Under the null hypothesis the matrices of each speaker are exchangeable between the systems. Utterances of a speaker
    are not independent, so a speaker is swapped as a whole, all seeds together. All 2**speakers swaps are enumerated if
    they are at most `permutations`, which gives the exact p value; otherwise that many random swaps are drawn.

    Args:
        system: matrices of the system. A deterministic system has one seed, which is paired with every seed of the
            other.
        baseline: matrices of the baseline.
        permutations: maximum number of permutations.

    Raises:
        ValueError: different numbers of several seeds, other shapes, or matrices of different utterances.
    """
    hits, truths = _paired(system, baseline)
    totals = truths.sum(0)
    # The truths are equal, so UA is a sum over speakers, and swapping a speaker changes the sign of its term.
    terms = (hits / np.maximum(totals, 1)).sum(1) / max(np.count_nonzero(totals), 1)
    if len(terms) < 2:
        return 1.0  # to swap the only speaker changes the sign of the difference, not its size
    result = permutation_test(
        (terms,),
        lambda signed, axis=-1: signed.sum(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=max(permutations, 1),
        random_state=np.random.default_rng(PERMUTATION_SEED),
    )
    return float(result.pvalue)


def bootstrap_gain(system: Counts, baseline: Counts, *, resamples: int) -> list[float] | None:
    """95% interval of UA(system) - UA(baseline), with the same speakers drawn for both.

    Args:
        system: matrices of the system.
        baseline: matrices of the baseline.
        resamples: bootstrap resamples.

    Returns:
        [low, high], or None for a single speaker.

    Raises:
        ValueError: as in `paired_permutation`.
    """
    hits, truths = _paired(system, baseline)
    if len(hits) < 2:
        return None
    draws = draw_speakers(len(hits), resamples)
    drawn = draws @ truths  # (resamples, c)
    gains = (draws @ hits / np.maximum(drawn, 1)).sum(1) / np.maximum(np.count_nonzero(drawn, axis=1), 1)
    totals = truths.sum(0)
    estimate = float((hits.sum(0) / np.maximum(totals, 1)).sum() / max(np.count_nonzero(totals), 1))
    return student_interval(gains, estimate, len(hits))


def paired_comparison(system: Counts, baseline: Counts, *, resamples: int) -> dict[str, Any]:
    """Gain in UA of a system over a baseline (`gain`), its 95% interval (`gain_ci95`) and the p value (`p`).

    Args:
        system: matrices of the system.
        baseline: matrices of the baseline.
        resamples: bootstrap resamples of the interval.

    Raises:
        ValueError: as in `paired_permutation`.
    """
    return {
        "gain": mean_ua(system) - mean_ua(baseline),
        "gain_ci95": bootstrap_gain(system, baseline, resamples=resamples),
        "p": paired_permutation(system, baseline),
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of the p values of several tests, in their order (Holm 1979).

    The k-th smallest of m is multiplied by m - k + 1; none is below the one before it or above 1. Rejecting what is
    below 0.05 then has a probability of at most 0.05 of any false rejection, however the tests depend on each other.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, test in enumerate(sorted(range(len(p_values)), key=lambda test: p_values[test])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[test]))
        corrected[test] = largest
    return corrected


def lowest_p(speakers: int, *, permutations: int = MAX_PERMUTATIONS) -> float:
    """The lowest p value that `paired_permutation` can give with this number of speakers."""
    if speakers < 2:
        return 1.0
    return 2 / 2**speakers if 2**speakers <= permutations else 2 / (permutations + 1)


def _paired(system: Counts, baseline: Counts) -> tuple[Numbers, Counts]:
    """Per speaker and class, (speakers, c) each: additional hits of the system, mean over seeds; utterances."""
    if system.ndim != 4 or system.shape[1:] != baseline.shape[1:]:
        raise ValueError(
            f"expected matrices (seeds, speakers, c, c) of the same speakers and classes, got {system.shape} and "
            f"{baseline.shape}"
        )
    if len(system) != len(baseline) and 1 not in (len(system), len(baseline)):
        raise ValueError(f"expected the same number of seeds, or one, got {len(system)} and {len(baseline)}")
    truths: Counts = system[0].sum(-1)
    if (system.sum(-1) != truths).any() or (baseline.sum(-1) != truths).any():
        raise ValueError("expected the same utterances of every speaker for both systems and all seeds, got others")
    mean_hits: list[NDArray[np.float64]] = [
        np.diagonal(counts, axis1=-2, axis2=-1).mean(0) for counts in (system, baseline)
    ]
    return mean_hits[0] - mean_hits[1], truths
