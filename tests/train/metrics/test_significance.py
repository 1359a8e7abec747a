from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import kstest, permutation_test

from foal.train.metrics.classification import bootstrap_intervals, draw_speakers, student_interval, unweighted_accuracy
from foal.train.metrics.significance import bootstrap_gain, holm, lowest_p, paired_permutation


def predictions(truths: NDArray[np.int64], *, seeds: int, accuracy: float, rng: np.random.Generator) -> NDArray:
    """Confusion matrices (seeds, speakers, c, c) of a system; truths: utterances by speaker and class."""
    c = truths.shape[1]
    shares = np.full((c, c), (1 - accuracy) / (c - 1))
    np.fill_diagonal(shares, accuracy)
    return np.stack([rng.multinomial(truths, shares) for _ in range(seeds)])


@st.composite
def pairs(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two systems on the same utterances; some speakers or classes have no utterances, some systems one seed."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    c, seeds = draw(st.integers(2, 4)), draw(st.integers(1, 3))
    truths = rng.integers(0, 4, (draw(st.integers(1, 6)), c)) * (rng.random(c) < 0.9)
    first = predictions(truths, seeds=seeds, accuracy=rng.random(), rng=rng)
    second = predictions(truths, seeds=draw(st.sampled_from([1, seeds])), accuracy=rng.random(), rng=rng)
    return first, second


def gain(system: NDArray[np.int64], baseline: NDArray[np.int64]) -> float:
    return float(unweighted_accuracy(system.sum(1)).mean() - unweighted_accuracy(baseline.sum(1)).mean())


def brute_force(system: NDArray[np.int64], baseline: NDArray[np.int64]) -> float:
    """The exact p value, by swapping every subset of speakers; a system with one seed is repeated."""
    seeds = max(len(system), len(baseline))
    system, baseline = (np.repeat(x, seeds // len(x), axis=0) for x in (system, baseline))
    observed, at_least_as_large = abs(gain(system, baseline)), []
    for swap in product([False, True], repeat=system.shape[1]):
        mask = np.array(swap)[:, None, None]
        swapped = gain(np.where(mask, baseline, system), np.where(mask, system, baseline))
        at_least_as_large.append(abs(swapped) >= observed - 1e-9)
    return float(np.mean(at_least_as_large))


@given(pairs())
def test_exact_p_equals_a_loop_over_all_swaps(pair: tuple[NDArray[np.int64], NDArray[np.int64]]) -> None:
    assert paired_permutation(*pair) == pytest.approx(brute_force(*pair))


@given(pairs())
def test_p_is_symmetric_and_one_for_equal_systems(pair: tuple[NDArray[np.int64], NDArray[np.int64]]) -> None:
    system, baseline = pair
    p = paired_permutation(system, baseline)
    assert 2 ** -system.shape[1] <= p <= 1
    assert paired_permutation(baseline, system) == p
    assert paired_permutation(system, system) == 1
    assert paired_permutation(system, system, permutations=0) == 1


@given(pairs())
def test_one_seed_counts_as_the_same_seed_repeated(pair: tuple[NDArray[np.int64], NDArray[np.int64]]) -> None:
    system, baseline = pair
    if len(baseline) == 1:
        repeated = np.repeat(baseline, len(system), axis=0)
        assert paired_permutation(system, baseline) == paired_permutation(system, repeated)
        assert bootstrap_gain(system, baseline, resamples=20) == pytest.approx(
            bootstrap_gain(system, repeated, resamples=20)
        )


def test_p_is_uniform_for_equally_good_systems() -> None:
    rng = np.random.default_rng(0)
    p = []
    for _ in range(500):
        truths = rng.integers(5, 60, (9, 3))
        system, baseline = (predictions(truths, seeds=2, accuracy=0.6, rng=rng) for _ in range(2))
        p.append(paired_permutation(system, baseline))
    assert kstest(p, "uniform").pvalue > 0.05
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.025)


def test_p_of_random_permutations_is_uniform_for_equally_good_systems() -> None:
    rng = np.random.default_rng(1)
    p = []
    for _ in range(300):
        truths = rng.integers(5, 60, (12, 3))
        system, baseline = (predictions(truths, seeds=1, accuracy=0.6, rng=rng) for _ in range(2))
        p.append(paired_permutation(system, baseline, permutations=199))
    assert kstest(p, "uniform").pvalue > 0.05


def test_a_much_better_system_is_significant() -> None:
    rng = np.random.default_rng(2)
    truths = rng.integers(10, 30, (10, 4))
    good, bad = (predictions(truths, seeds=3, accuracy=share, rng=rng) for share in (0.9, 0.5))
    assert paired_permutation(good, bad) == 2 / 2**10  # only the swaps of no speaker and of all speakers
    assert paired_permutation(good, bad, permutations=500) < 0.02
    low, high = bootstrap_gain(good, bad, resamples=500) or (0, 0)
    assert 0.3 < low < gain(good, bad) < high < 0.5


def test_few_speakers_are_not_significant_even_with_many_utterances() -> None:
    system = np.array([[[90, 10], [10, 90]], [[90, 10], [10, 90]]])[None]
    baseline = np.array([[[50, 50], [50, 50]], [[50, 50], [50, 50]]])[None]
    assert paired_permutation(system, baseline) == 0.5
    assert paired_permutation(system[:, :1], baseline[:, :1]) == 1


def test_random_permutations_approximate_the_exact_p_and_are_repeatable() -> None:
    rng = np.random.default_rng(8)
    truths = rng.integers(1, 20, (14, 3))
    first, second = (predictions(truths, seeds=2, accuracy=share, rng=rng) for share in (0.62, 0.58))
    exact = paired_permutation(first, second, permutations=2**14)
    approximate = paired_permutation(first, second)
    assert approximate == pytest.approx(exact, abs=0.01)
    assert paired_permutation(first, second) == approximate
    assert paired_permutation(second, first) == approximate
    assert 0.01 < exact < 0.9


def test_p_equals_that_of_scipy() -> None:
    # With equal counts of utterances per speaker and class, UA is a mean over speakers, as SciPy requires.
    rng = np.random.default_rng(4)
    truths = np.full((8, 3), 20)
    first, second = (predictions(truths, seeds=1, accuracy=share, rng=rng) for share in (0.65, 0.6))
    by_speaker = [unweighted_accuracy(x[0]).round(9) for x in (first, second)]
    expected = permutation_test(
        by_speaker, lambda a, b, axis: (a - b).mean(axis).round(9), permutation_type="samples", vectorized=True
    ).pvalue
    assert paired_permutation(first, second) == pytest.approx(expected)


@given(pairs())
def test_the_interval_of_the_gain_equals_a_loop_over_resamples(
    pair: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> None:
    system, baseline = pair
    if system.shape[1] < 2:
        assert bootstrap_gain(system, baseline, resamples=30) is None
        return
    gains = []
    for draw in draw_speakers(system.shape[1], 30):
        speakers = np.repeat(np.arange(len(draw)), draw)
        gains.append(gain(system[:, speakers], baseline[:, speakers]))
    interval = bootstrap_gain(system, baseline, resamples=30)
    expected = student_interval(np.array(gains), gain(system, baseline), system.shape[1])
    assert interval == pytest.approx(expected)
    low, high = bootstrap_gain(baseline, system, resamples=30) or (0, 0)
    assert [-high, -low] == pytest.approx(interval)
    assert bootstrap_gain(system, system, resamples=30) == [0, 0]


def test_gains_and_scores_use_the_same_resamples() -> None:
    rng = np.random.default_rng(5)
    system = predictions(rng.integers(1, 20, (6, 3)), seeds=2, accuracy=0.6, rng=rng)
    values = [unweighted_accuracy(np.einsum("s,kscd->kcd", d, system)).mean() for d in draw_speakers(6, 200)]
    estimate = float(unweighted_accuracy(system.sum(1)).mean())
    expected = student_interval(np.array(values), estimate, 6)
    assert np.clip(expected, 0, 1) == pytest.approx(bootstrap_intervals(system, resamples=200)["ua"])


@pytest.mark.parametrize("compare", [paired_permutation, lambda a, b: bootstrap_gain(a, b, resamples=10)])
def test_unpaired_systems_are_refused(compare: type) -> None:
    counts = np.random.default_rng(6).integers(1, 9, (1, 4, 3, 3))
    two, three = np.repeat(counts, 2, axis=0), np.repeat(counts, 3, axis=0)
    with pytest.raises(ValueError, match="same number of seeds, or one, got 2 and 3"):
        compare(two, three)
    with pytest.raises(ValueError, match="same speakers and classes"):
        compare(counts, counts[:, :3])
    with pytest.raises(ValueError, match="same speakers and classes"):
        compare(counts[0], counts[0])
    with pytest.raises(ValueError, match="same utterances"):
        compare(counts, counts[:, ::-1])


def test_holm_in_a_worked_example() -> None:
    # 4 * 0.005, 3 * 0.01, 2 * 0.03, and 1 * 0.04, which may not be below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6, 0.001]) == pytest.approx([1.0, 1.0, 0.003])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_the_order_and_lies_between_no_correction_and_bonferroni(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(p <= q <= min(1.0, len(p_values) * p) for p, q in zip(p_values, corrected, strict=True))
    ranked = sorted(range(len(p_values)), key=lambda test: p_values[test])
    assert [corrected[test] for test in ranked] == sorted(corrected)


@pytest.mark.parametrize(("speakers", "permutations"), [(1, 100), (2, 100), (6, 100), (7, 100)])
def test_no_difference_has_a_p_value_below_the_lowest(speakers: int, permutations: int) -> None:
    right = np.tile(np.diag([3, 2]), (1, speakers, 1, 1))
    wrong = right[..., ::-1]
    p = paired_permutation(right, wrong, permutations=permutations)
    assert p == pytest.approx(
        lowest_p(speakers, permutations=permutations), abs=2 / permutations if speakers > 6 else 0
    )
    assert p >= lowest_p(speakers, permutations=permutations)
