"""Tests of CCC, MAE and their intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foal.train.metrics.regression import (
    concordance,
    concordance_gain,
    group_scores,
    mean_concordance,
    rating_scores,
    rating_sums,
)

SPEAKERS = [f"s{number % 4}" for number in range(40)]


def ratings(seed: int = 0, noise: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """True (40, 2) and predicted (2 seeds, 40, 2) ratings."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(3, 1, (40, 2))
    return truth, truth + noise * rng.normal(size=(2, 40, 2))


def lin_ccc(x: np.ndarray, y: np.ndarray) -> float:
    return float(2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))


def test_ccc_and_mae_are_those_of_their_definitions() -> None:
    truth, predicted = ratings()
    scores = rating_scores(truth, predicted, SPEAKERS, dimensions=("a", "b"), resamples=20)
    ccc = [[lin_ccc(x[:, k], truth[:, k]) for x in predicted] for k in (0, 1)]
    for k, name in enumerate("ab"):
        own = scores["dimensions"][name]
        assert own["ccc_per_seed"] == pytest.approx(ccc[k])
        assert own["ccc_std"] == pytest.approx(np.std(ccc[k], ddof=1))
        assert own["mae_mean"] == pytest.approx(np.abs(predicted[..., k] - truth[:, k]).mean())
        low, high = own["ccc_ci95"]
        assert low < own["ccc_mean"] < high <= 1
    assert scores["ccc_mean"] == pytest.approx(np.mean(ccc))


def test_utterances_without_a_rating_do_not_count() -> None:
    truth, predicted = ratings()
    kept = np.arange(40) >= 11
    missing = truth.copy()
    missing[~kept, 1] = np.nan
    missing[[name == "s3" for name in SPEAKERS], 0] = np.nan  # a speaker without any rating
    scores = rating_scores(missing, predicted, SPEAKERS, dimensions=("a", "b"), resamples=20)["dimensions"]
    assert (scores["a"]["n"], scores["b"]["n"]) == (30, 29)
    assert scores["b"]["ccc_per_seed"][0] == pytest.approx(lin_ccc(predicted[0, kept, 1], truth[kept, 1]))
    alone = rating_scores(
        truth[kept, 1:],
        predicted[:, kept, 1:],
        [s for s, k in zip(SPEAKERS, kept, strict=True) if k],
        dimensions=("b",),
        resamples=20,
    )
    assert scores["b"] == alone["dimensions"]["b"]


def test_perfect_predictions_have_ccc_one_and_the_reverse_minus_one() -> None:
    truth = np.arange(40.0)
    sums = rating_sums(truth, np.stack([truth, 39 - truth]), SPEAKERS).sum(1)
    assert concordance(sums) == pytest.approx([1, -1])


@given(st.floats(-1e3, 1e3))
def test_a_common_shift_changes_nothing(shift: float) -> None:
    truth, predicted = ratings()
    sums = [rating_sums(truth[:, 0] + by, predicted[..., 0] + by, SPEAKERS).sum(1) for by in (0, shift)]
    np.testing.assert_allclose(concordance(sums[1]), concordance(sums[0]), atol=1e-6)


def test_one_speaker_has_no_interval_and_one_seed_no_deviation() -> None:
    truth, predicted = ratings()
    scores = rating_scores(truth, predicted[:1], ["s"] * 40, dimensions=("a", "b"), resamples=20)
    assert scores["ccc_ci95"] is scores["mae_ci95"] is scores["ccc_std"] is None


def test_the_interval_covers_the_truth_as_often_as_it_should() -> None:
    """Eight speakers whose predictions share an error: the CCC of many speakers is that of the distribution."""

    def corpus(rng: np.random.Generator, speakers: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
        names = np.repeat(np.arange(speakers), 15)
        truth = rng.normal(size=len(names))
        predicted = truth + 0.5 * rng.normal(size=speakers)[names] + 0.5 * rng.normal(size=len(names))
        return truth[:, None], predicted[None, :, None], [str(name) for name in names]

    rng = np.random.default_rng(3)
    truth, predicted, _ = corpus(rng, 20_000)
    expected = lin_ccc(predicted[0, :, 0], truth[:, 0])
    covered = []
    for _ in range(200):
        y, x, names = corpus(rng, 8)
        low, high = rating_scores(y, x, names, dimensions=("a",), resamples=200)["ccc_ci95"]
        covered.append(low <= expected <= high)
    assert 0.88 <= np.mean(covered) <= 1


def test_a_group_of_equal_ratings_has_no_ccc() -> None:
    truth = np.array([[3.0, 1.0], [3.0, np.nan], [3.0, np.nan]])
    scores = group_scores(truth, np.zeros((3, 2)), ("a", "b"))
    assert scores == {"a": {"ccc": None, "mae": 3.0, "n": 3}, "b": {"ccc": None, "mae": 1.0, "n": 1}}
    assert mean_concordance(scores) is None
    assert group_scores(np.full((2, 1), np.nan), np.zeros((2, 1)), ("a",))["a"] == {"ccc": None, "mae": None, "n": 0}


def test_the_gain_of_a_system_over_itself_is_zero_and_over_noise_positive() -> None:
    truth, predicted = ratings()
    same = concordance_gain(truth, predicted, predicted, SPEAKERS, resamples=20)
    assert same == {"gain": 0.0, "gain_ci95": [0.0, 0.0]}
    _, noisy = ratings(noise=3)
    gain = concordance_gain(truth, predicted, noisy[:1], SPEAKERS, resamples=50)
    assert gain["gain_ci95"][0] > 0
