from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity

from foal.train.metrics import retrieval as module
from foal.train.metrics.retrieval import SAMPLE_SEED, fit_cross_modal_regression, retrieval


def means(*arguments: Any, **options: Any) -> tuple[float, float, float] | None:
    """Mean average precision, R@1 and chance."""
    scores = retrieval(*arguments, **options)
    return None if scores is None else (scores.map, scores.r1, scores.chance)


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 12), st.integers(1, 4))
def test_average_precision_equals_that_of_scikit_learn(seed: int, q: int, g: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    queries, gallery = rng.normal(size=(q, 5)), rng.normal(size=(g, 5))
    query_labels, gallery_labels = rng.integers(0, classes, q), rng.integers(0, classes, g)
    precision, first, share = [], [], []
    for similarity, label in zip(cosine_similarity(queries, gallery), query_labels, strict=True):
        relevant = gallery_labels == label
        if relevant.any():
            precision.append(average_precision_score(relevant, similarity))
            first.append(relevant[similarity.argmax()])
            share.append(relevant.mean())
    scores = means(queries, gallery, query_labels, gallery_labels)
    if not precision:
        assert scores is None
        return
    assert scores is not None
    assert scores == pytest.approx((np.mean(precision), np.mean(first), np.mean(share)))
    assert all(0 <= value <= 1 for value in scores)


@given(st.integers(0, 2**32), st.integers(2, 12))
def test_the_own_pair_can_be_excluded(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    queries, gallery, labels = rng.normal(size=(n, 4)), rng.normal(size=(n, 4)), rng.integers(0, 3, n)
    scores_by_row = []
    for row in range(n):
        others = np.arange(n) != row
        row_scores = means(queries[row : row + 1], gallery[others], labels[row : row + 1], labels[others])
        scores_by_row += [row_scores] if row_scores is not None else []
    scores = means(queries, gallery, labels, labels, include_self=False)
    assert scores == (pytest.approx(tuple(np.mean(scores_by_row, axis=0))) if scores_by_row else None)


@given(st.integers(0, 2**32))
def test_scores_do_not_depend_on_vector_length_or_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    queries, gallery, labels = rng.normal(size=(9, 4)), rng.normal(size=(9, 4)), rng.integers(0, 3, 9)
    expected = means(queries, gallery, labels, labels)
    order, lengths = rng.permutation(9), rng.uniform(0.1, 9, (9, 1))
    assert means(queries * lengths, gallery / lengths, labels, labels) == pytest.approx(expected)
    assert means(queries[order], gallery, labels[order], labels) == pytest.approx(expected)
    assert means(queries, gallery[order], labels, labels[order]) == pytest.approx(expected)


def test_scores_of_a_small_example() -> None:
    queries, gallery = np.array([[1.0, 0.0]]), np.array([[1.0, 0.1], [1.0, 0.2], [1.0, 0.3], [0.0, 1.0]])
    labels = np.array([1, 0, 1, 0])
    assert means(queries, gallery, np.array([0]), labels) == pytest.approx(((1 / 2 + 2 / 4) / 2, 0, 1 / 2))
    assert means(queries, gallery, np.array([1]), labels) == pytest.approx(((1 + 2 / 3) / 2, 1, 1 / 2))
    assert means(queries, gallery, np.array([2]), labels) is None
    assert means(queries, gallery, np.array([0]), labels[[0, 0, 0, 1]]) == (1 / 4, 0, 1 / 4)


def test_separate_classes_score_one_and_noise_scores_chance() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 1200)  # more than one block
    centres = np.eye(4)[labels]
    assert means(centres, centres + 0.01 * rng.normal(size=(1200, 4)), labels, labels) == pytest.approx(
        (1, 1, 0.25), abs=0.01
    )
    queries, gallery = rng.normal(size=(2, 1200, 16))
    for include_self in (True, False):
        scores = means(queries, gallery, labels, labels, include_self=include_self)
        assert scores is not None
        assert scores == pytest.approx((scores[2], scores[2], scores[2]), abs=0.04)


def test_excluding_the_own_pair_requires_the_same_utterances_on_both_sides() -> None:
    labels = np.array([0, 1, 0, 1])
    # The nearest other vector is of the other class.
    vectors = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    assert means(vectors, vectors, labels, labels) == pytest.approx((0.75, 1, 0.5), abs=0.1)
    assert means(vectors, vectors, labels, labels, include_self=False) == pytest.approx((5 / 12, 0, 1 / 3))
    with pytest.raises(ValueError, match="same utterances"):
        means(vectors, vectors, labels, labels[::-1], include_self=False)
    with pytest.raises(ValueError, match="same utterances"):
        means(vectors, vectors[:3], labels, labels[:3], include_self=False)


def test_queries_without_relevant_entries_have_no_score() -> None:
    vectors, empty = np.ones((2, 3)), np.ones((0, 3))
    assert means(empty, vectors, np.zeros(0, int), np.zeros(2, int)) is None
    assert means(vectors, empty, np.zeros(2, int), np.zeros(0, int)) is None
    assert means(vectors, vectors, np.arange(2), np.arange(2), include_self=False) is None
    # For zero vectors, all similarities are tied.
    assert means(0 * vectors, vectors, np.arange(2), np.arange(2)) == (0.75, 0.5, 0.5)


def test_the_regression_retrieves_the_face_of_an_audio_vector() -> None:
    rng = np.random.default_rng(1)
    audio = 5 + 3 * rng.normal(size=(400, 8))
    face = (audio @ rng.normal(size=(8, 6)) + rng.normal(size=(400, 6))) * 10 - 7
    labels = np.arange(200)  # every utterance is a class of its own: only its own pair is relevant
    mapped, standardised = fit_cross_modal_regression(audio[:200], face[:200])(audio[200:], face[200:])
    assert mapped.shape == standardised.shape == (200, 6)
    for queries, gallery in ((mapped, standardised), (standardised, mapped)):
        scores = means(queries, gallery, labels, labels)
        assert scores is not None
        assert scores[1] > 0.8
        assert scores[2] == pytest.approx(1 / 200)


def test_the_regression_equals_ridge_on_standardised_features() -> None:
    rng = np.random.default_rng(2)
    audio, face = rng.normal(2, 3, (30, 4)).astype(np.float32), rng.normal(-1, 2, (30, 3)).astype(np.float32)
    x, y = ((values - values.mean(0)) / values.std(0) for values in (audio.astype(float), face.astype(float)))
    mapped, standardised = fit_cross_modal_regression(audio, face)(audio, face)
    np.testing.assert_allclose(standardised, y, atol=1e-6)
    np.testing.assert_allclose(mapped, Ridge(alpha=4).fit(x, y).predict(x), atol=1e-6)


def test_the_regression_accepts_few_utterances_and_constant_dimensions() -> None:
    rng = np.random.default_rng(3)
    audio, face = rng.normal(size=(5, 20)), rng.normal(size=(5, 10))
    audio[:, 3] = face[:, 4] = 1.0
    mapped, standardised = fit_cross_modal_regression(audio, face)(audio[:2], face)
    assert np.isfinite(mapped).all()
    assert np.isfinite(standardised).all()
    assert (mapped.shape, standardised.shape) == ((2, 10), (5, 10))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        fit_cross_modal_regression(audio, face[:4])
    with pytest.raises(ValueError, match="0 sample"):
        fit_cross_modal_regression(audio[:0], face[:0])


def test_queries_with_a_relevant_item_are_counted() -> None:
    vectors = np.ones((3, 2))
    scores = retrieval(vectors, vectors[:2], np.array([0, 1, 2]), np.array([0, 1]))
    assert scores is not None
    assert scores.queries == 2


def test_a_sample_of_many_queries_is_ranked_against_the_whole_gallery() -> None:
    rng = np.random.default_rng(0)
    vectors, labels = rng.normal(size=(60, 4)), rng.integers(0, 3, 60)
    sampled = retrieval(vectors, vectors, labels, labels, include_self=False, limit=20)
    again = retrieval(vectors, vectors, labels, labels, include_self=False, limit=20)
    assert sampled is not None
    assert sampled == again
    assert (sampled.queries, sampled.available) == (20, 60)
    rows = np.sort(np.random.default_rng(SAMPLE_SEED).choice(60, 20, replace=False))
    others = [np.delete(np.arange(60), row) for row in rows]
    each = [
        means(vectors[[row]], vectors[rest], labels[[row]], labels[rest])
        for row, rest in zip(rows, others, strict=True)
    ]
    expected = np.mean([scores for scores in each if scores is not None], axis=0)
    assert (sampled.map, sampled.r1, sampled.chance) == pytest.approx(tuple(expected))


def test_all_queries_up_to_the_limit_are_ranked() -> None:
    rng = np.random.default_rng(0)
    vectors, labels = rng.normal(size=(30, 4)), rng.integers(0, 3, 30)
    whole = retrieval(vectors, vectors, labels, labels)
    assert whole is not None
    assert (whole.queries, whole.available) == (30, 30)
    assert retrieval(vectors, vectors, labels, labels, limit=30) == whole


def test_a_query_without_a_relevant_item_does_not_count_in_a_sample() -> None:
    vectors, labels = np.eye(10), np.array([*range(1, 6), 0, 0, 0, 0, 0])
    scores = retrieval(vectors, vectors, labels, labels, include_self=False, limit=6)
    assert scores is not None
    assert 1 <= scores.queries < 6
    assert scores.available == round(scores.queries * 10 / 6)


def test_the_size_of_a_block_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    vectors, labels = rng.normal(size=(50, 4)), rng.integers(0, 3, 50)
    whole = means(vectors, vectors, labels, labels, include_self=False)
    monkeypatch.setattr(module, "_BLOCK_SIZE", 7)
    assert means(vectors, vectors, labels, labels, include_self=False) == pytest.approx(whole)
