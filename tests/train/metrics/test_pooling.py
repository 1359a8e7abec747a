"""Predictions of several runs, pooled and compared."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foal.shared.errors import UsageError
from foal.train.metrics.classification import counts_by_speaker, mean_ua
from foal.train.metrics.pooling import Predictions, compare_predictions, pool_predictions, prediction_scores
from foal.train.metrics.significance import bootstrap_gain, paired_permutation

RESAMPLES = 50


def random_predictions(seed: int, *, n: int = 40, seeds: int = 2, source: str = "run") -> Predictions:
    """Predictions of three classes; ids, speakers and labels do not depend on `seed`."""
    same, rng = np.random.default_rng(n), np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(3), (seeds, n))
    return Predictions(
        source=source,
        classes=("a", "b", "c"),
        ids=tuple(f"u{i}" for i in range(n)),
        speakers=tuple(f"test/s{number}" for number in same.integers(5, size=n)),
        labels=same.integers(3, size=n),
        predicted=probabilities.argmax(-1),
        probabilities=probabilities,
    )


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    seeds=st.integers(1, 3),
    parts=st.lists(st.integers(0, 3), min_size=2, max_size=30),
)
def test_the_parts_of_a_run_have_exactly_its_scores(seed: int, seeds: int, parts: list[int]) -> None:
    whole = random_predictions(seed, n=len(parts), seeds=seeds)
    split = [
        replace(whole.take(rows), source=f"part {number}")
        for number in range(4)
        if (rows := [row for row, part in enumerate(parts) if part == number])
    ]
    pooled = pool_predictions(split)
    assert sorted(pooled.ids) == sorted(whole.ids)
    assert prediction_scores(pooled, resamples=RESAMPLES) == prediction_scores(whole, resamples=RESAMPLES)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), order=st.permutations(range(40)))
def test_a_comparison_does_not_depend_on_the_order_and_changes_its_sign_when_swapped(
    seed: int, order: list[int]
) -> None:
    system, baseline = random_predictions(seed), random_predictions(seed + 1)
    compared = compare_predictions(system, baseline, resamples=RESAMPLES)
    counts = [counts_by_speaker(p.labels, p.predicted, p.speakers, 3) for p in (system, baseline)]
    assert compared == {
        "gain": mean_ua(counts[0]) - mean_ua(counts[1]),
        "gain_ci95": bootstrap_gain(counts[0], counts[1], resamples=RESAMPLES),
        "p": paired_permutation(counts[0], counts[1]),
    }
    assert compare_predictions(system, baseline.take(order), resamples=RESAMPLES) == compared
    swapped = compare_predictions(baseline, system, resamples=RESAMPLES)
    assert (swapped["gain"], swapped["p"]) == (-compared["gain"], pytest.approx(compared["p"]))


def test_a_run_has_no_gain_over_itself() -> None:
    predictions = random_predictions(0)
    assert compare_predictions(predictions, predictions, resamples=RESAMPLES) == {
        "gain": 0.0,
        "gain_ci95": [0.0, 0.0],
        "p": 1.0,
    }


def test_one_seed_is_compared_with_several() -> None:
    one, three = random_predictions(0, seeds=1), random_predictions(1, seeds=3)
    assert compare_predictions(one, three, resamples=RESAMPLES)["gain_ci95"] is not None
    assert prediction_scores(one, resamples=RESAMPLES)["seed_average"] is None


def test_runs_that_cannot_be_pooled_are_refused() -> None:
    first = random_predictions(0, source="first").take(range(20))
    second = replace(random_predictions(0).take(range(20, 40)), source="second")
    assert len(pool_predictions([first, second])) == 40
    with pytest.raises(UsageError, match="disjoint utterances, got 'u19' in first and in second; leave one"):
        pool_predictions([first, replace(random_predictions(0).take(range(19, 40)), source="second")])
    with pytest.raises(UsageError, match="same classes, got a, b, c in first and c, b, a in second"):
        pool_predictions([first, replace(second, classes=("c", "b", "a"))])
    with pytest.raises(UsageError, match="same number of seeds in all runs, got 2 in first and 1 in second"):
        pool_predictions([first, replace(second, predicted=second.predicted[:1])])


def test_runs_that_cannot_be_compared_are_refused() -> None:
    system, baseline = random_predictions(0, source="new"), random_predictions(1, source="old")
    with pytest.raises(UsageError, match="in new and in old, got 1 that are only in new, such as 'u39'"):
        compare_predictions(system, baseline.take(range(39)), resamples=RESAMPLES)
    with pytest.raises(UsageError, match="got 1 that are only in old, such as 'u0'; compare runs"):
        compare_predictions(system.take(range(1, 40)), baseline, resamples=RESAMPLES)
    changed = baseline.labels.copy()
    changed[3] = (changed[3] + 1) % 3
    with pytest.raises(UsageError, match="same label and speaker of 'u3' in new and in old"):
        compare_predictions(system, replace(baseline, labels=changed), resamples=RESAMPLES)
    with pytest.raises(UsageError, match="same classes"):
        compare_predictions(system, replace(baseline, classes=("x", "b", "c")), resamples=RESAMPLES)
    with pytest.raises(UsageError, match="same number of seeds to compare, or one, got 2 in new and 3 in old"):
        compare_predictions(system, random_predictions(1, seeds=3, source="old"), resamples=RESAMPLES)
