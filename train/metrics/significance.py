"""Is one system better than another? Paired by speaker, on confusion matrices (seeds, speakers, c, c): row = truth."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .classification import Counts, Numbers, speaker_draws

PERMUTATION_SEED = 0
_CHUNK = 1024  # permutations at a time, so that memory does not grow with their number
_ROUNDING = 1e-12  # differences in UA closer than this are the same difference


def paired_permutation(system: Counts, baseline: Counts, *, permutations: int = 10_000) -> float:
    """Two-sided p-value of the difference in UA (mean over seeds of the pooled UA), from swapping speakers.

    Were the two systems alike, any speaker's matrices might as well be the other's. Utterances of one speaker are no
    independent evidence, so a speaker is swapped whole, all seeds together. All 2**speakers swaps are counted if that
    is at most `permutations`; otherwise that many random ones, and (hits + 1) / (permutations + 1).

    A system without randomness has one seed, which then stands against every seed of the other. Raises ValueError for
    different numbers of several seeds, for other shapes, and for matrices of different utterances.
    """
    hits, truths = _paired(system, baseline)
    totals = truths.sum(0)
    # With the truths alike, UA is a sum over speakers, and to swap one changes the sign of its part of the difference.
    parts = (hits / np.maximum(totals, 1)).sum(1) / max(np.count_nonzero(totals), 1)
    observed = abs(parts.sum())
    exact = 2 ** len(parts) <= permutations
    extreme = sum(
        np.count_nonzero(np.abs(signs @ parts) >= observed - _ROUNDING)
        for signs in (_all_signs(len(parts)) if exact else _random_signs(len(parts), permutations))
    )
    return float(extreme / 2 ** len(parts) if exact else (extreme + 1) / (permutations + 1))


def bootstrap_gain(system: Counts, baseline: Counts, *, resamples: int) -> list[float] | None:
    """95% percentile interval of UA(system) - UA(baseline), [low, high], with the same speakers drawn for both.

    None for a single speaker, as in metrics.bootstrap_intervals. Raises ValueError as paired_permutation does.
    """
    hits, truths = _paired(system, baseline)
    if len(hits) < 2:
        return None
    draws = speaker_draws(len(hits), resamples)
    drawn = draws @ truths  # resamples, c
    gains = (draws @ hits / np.maximum(drawn, 1)).sum(1) / np.maximum(np.count_nonzero(drawn, axis=1), 1)
    return [float(end) for end in np.percentile(gains, [2.5, 97.5])]


def _paired(system: Counts, baseline: Counts) -> tuple[Numbers, Counts]:
    """Per speaker and class, (speakers, c) each: how many more hits the system has, mean over seeds; utterances."""
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
    ours, theirs = (np.diagonal(counts, axis1=-2, axis2=-1).mean(0) for counts in (system, baseline))
    return ours - theirs, truths


def _all_signs(speakers: int) -> Iterator[NDArray[np.int64]]:
    """Every way to swap, once: chunks (m, speakers) of 1 and -1."""
    for start in range(0, 2**speakers, _CHUNK):
        numbers = np.arange(start, min(start + _CHUNK, 2**speakers))
        yield 1 - 2 * (numbers[:, None] >> np.arange(speakers) & 1)


def _random_signs(speakers: int, permutations: int) -> Iterator[NDArray[np.int64]]:
    chance = np.random.default_rng(PERMUTATION_SEED)
    for start in range(0, permutations, _CHUNK):
        yield 1 - 2 * chance.integers(0, 2, (min(_CHUNK, permutations - start), speakers))
