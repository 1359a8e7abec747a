import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, recall_score

from foal.train.metrics.classification import (
    bootstrap_intervals,
    confusion,
    macro_f1,
    pooled_scores,
    recalls,
    unweighted_accuracy,
    weighted_accuracy,
)

pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@given(pairs)
def test_scores_equal_those_of_scikit_learn(rows: list[tuple[int, int]]) -> None:
    labels, predicted = np.array(rows).T
    counts = confusion(labels, predicted, 4)
    present = sorted(set(labels.tolist()))
    assert unweighted_accuracy(counts) == pytest.approx(
        recall_score(labels, predicted, labels=present, average="macro", zero_division=0)
    )
    assert weighted_accuracy(counts) == pytest.approx(accuracy_score(labels, predicted))
    assert macro_f1(counts) == pytest.approx(
        f1_score(labels, predicted, labels=present, average="macro", zero_division=0)
    )


def test_scores_of_a_small_example() -> None:
    counts = confusion(np.array([0, 0, 0, 1, 1, 3]), np.array([0, 0, 1, 1, 2, 0]), 4)
    assert counts.tolist() == [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    np.testing.assert_allclose(recalls(counts), [2 / 3, 1 / 2, np.nan, 0])
    assert unweighted_accuracy(counts) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert weighted_accuracy(counts) == pytest.approx(3 / 6)


def test_scores_without_utterances_are_zero() -> None:
    counts = confusion(np.array([], int), np.array([], int), 3)
    assert unweighted_accuracy(counts) == weighted_accuracy(counts) == macro_f1(counts) == 0


def test_stacks_of_matrices_are_scored_at_once() -> None:
    stack = np.random.default_rng(0).integers(0, 5, (2, 7, 3, 3))
    for score in (unweighted_accuracy, weighted_accuracy, macro_f1):
        scores = score(stack)
        assert scores.shape == (2, 7)
        assert scores[1, 4] == score(stack[1, 4])


def test_the_interval_resamples_speakers() -> None:
    # All predictions are right for half of the speakers and wrong for the others: only the choice of speakers varies.
    right, wrong = np.array([[10, 0], [0, 10]]), np.array([[0, 10], [10, 0]])
    by_speaker = np.stack([right, wrong] * 5)[None]
    low, high = bootstrap_intervals(by_speaker, resamples=2000)["ua"] or (0, 0)
    assert low == pytest.approx(0.2, abs=0.101)  # binomial(10, 1/2): 0.2 to 0.8
    assert high == pytest.approx(0.8, abs=0.101)
    equal_speakers = np.stack([np.array([[9, 1], [1, 9]])] * 10)[None]
    assert bootstrap_intervals(equal_speakers, resamples=100)["ua"] == pytest.approx([0.9, 0.9])
    assert bootstrap_intervals(by_speaker[:, :1], resamples=100) == {"ua": None, "wa": None}


def test_scores_are_pooled_over_folds_and_averaged_over_seeds() -> None:
    labels = np.array([0, 0, 1, 1])
    predicted = np.array([[0, 0, 1, 1], [0, 1, 1, 1]])
    scores = pooled_scores(labels, predicted, ["a", "b", "a", "b"], classes=("x", "y"), resamples=50)
    assert scores["ua_mean"] == pytest.approx(0.875)
    assert scores["ua_std"] == pytest.approx(np.std([1.0, 0.75], ddof=1))
    assert scores["per_class_recall"] == {"x": 0.75, "y": 1.0}
    assert scores["confusion"] == [[3, 1], [0, 4]]
    one_seed = pooled_scores(labels, predicted[:1], ["a", "b", "a", "b"], classes=("x", "y"), resamples=50)
    assert one_seed["ua_std"] is None
    assert one_seed["ua_ci95"] == [1.0, 1.0]


def test_a_class_without_utterances_has_no_recall() -> None:
    scores = pooled_scores(np.array([0, 0]), np.array([[0, 1]]), ["a", "b"], classes=("x", "y"), resamples=10)
    assert scores["per_class_recall"] == {"x": 0.5, "y": None}
    assert scores["ua_mean"] == 0.5


def test_the_interval_of_a_mean_over_speakers_is_the_t_interval() -> None:
    hits = np.array([50, 30, 45, 55, 20])
    by_speaker = np.zeros((1, 5, 2, 2), np.int64)
    by_speaker[0, :, 0, 0], by_speaker[0, :, 0, 1] = hits, 60 - hits
    expected = scipy.stats.t.interval(0.95, 4, loc=np.mean(hits / 60), scale=scipy.stats.sem(hits / 60))
    assert bootstrap_intervals(by_speaker, resamples=20_000)["wa"] == pytest.approx(expected, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("speakers", "plain"), [(4, 0.80), (6, 0.86), (10, 0.89), (24, 0.92)])
def test_the_interval_covers_the_true_score(speakers: int, plain: float) -> None:
    """Simulated studies: each speaker has an accuracy of its own, and 60 utterances."""
    rng = np.random.default_rng(speakers)
    studies, true = 600, 0.7
    covered, covered_plain = 0, 0
    for _ in range(studies):
        accuracies = rng.beta(7.0, 3.0, size=speakers)  # mean 0.7, deviation 0.14
        hits = rng.binomial(60, accuracies)
        by_speaker = np.zeros((1, speakers, 2, 2), np.int64)
        by_speaker[0, :, 0, 0], by_speaker[0, :, 0, 1] = hits, 60 - hits
        interval = bootstrap_intervals(by_speaker, resamples=400)["wa"]
        assert interval is not None
        covered += interval[0] <= true <= interval[1]
        draws = rng.choice(hits / 60, (400, speakers)).mean(1)
        low, high = np.percentile(draws, [2.5, 97.5])
        covered_plain += low <= true <= high
    assert covered_plain / studies == pytest.approx(plain, abs=0.035)
    assert 0.925 <= covered / studies <= 0.98
