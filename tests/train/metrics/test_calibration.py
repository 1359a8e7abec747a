import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from foal.train.metrics.calibration import expected_calibration_error, reliability


@st.composite
def predictions(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    n, c = draw(st.integers(1, 40)), draw(st.integers(1, 5))
    weights = draw(arrays(np.float64, (n, c), elements=st.sampled_from([0.0, 1.0, 2.0, 3.0, 7.5]))) + 1e-3
    return weights / weights.sum(1, keepdims=True), draw(arrays(np.int64, n, elements=st.integers(0, c - 1)))


@given(predictions(), st.integers(1, 20))
def test_bins_and_error_equal_a_loop(table: tuple[NDArray[np.float64], NDArray[np.int64]], bins: int) -> None:
    probabilities, labels = table
    result = reliability(probabilities, labels, bins)
    error, edges = 0.0, np.linspace(0, 1, bins + 1)
    edges[-1] = np.inf  # a probability of 1 may be larger by a rounding error
    for m in range(bins):
        inside = [row for row in range(len(labels)) if edges[m] < probabilities[row].max() <= edges[m + 1]]
        assert result.counts[m] == len(inside)
        if not inside:
            assert np.isnan(result.confidence[m])
            assert np.isnan(result.accuracy[m])
            continue
        confidence = sum(probabilities[row].max() for row in inside) / len(inside)
        accuracy = sum(probabilities[row].argmax() == labels[row] for row in inside) / len(inside)
        assert result.confidence[m] == pytest.approx(confidence)
        assert result.accuracy[m] == pytest.approx(accuracy)
        error += len(inside) / len(labels) * abs(accuracy - confidence)
    assert expected_calibration_error(probabilities, labels, bins) == pytest.approx(error)


@given(predictions(), st.integers(1, 20))
def test_the_error_is_between_0_and_1_and_smallest_for_one_bin(
    table: tuple[NDArray[np.float64], NDArray[np.int64]], bins: int
) -> None:
    probabilities, labels = table
    result = reliability(probabilities, labels, bins)
    assert 0 <= expected_calibration_error(probabilities, labels, bins) <= 1
    assert result.counts.sum() == len(labels)
    # A single bin has the smallest error: deviations that cancel out there remain in separate bins.
    assert expected_calibration_error(probabilities, labels, 1) <= (
        expected_calibration_error(probabilities, labels, bins) + 1e-12
    )


def test_perfect_calibration_has_no_error() -> None:
    # Eight of ten predictions with 80% confidence are correct, and six of ten with 60%.
    probabilities = np.repeat([[0.8, 0.2], [0.4, 0.6]], 10, axis=0)
    labels = np.array([0] * 8 + [1] * 2 + [1] * 6 + [0] * 4)
    assert expected_calibration_error(probabilities, labels) == pytest.approx(0)
    certain = np.eye(3)[[0, 1, 2, 1]]
    assert expected_calibration_error(certain, np.array([0, 1, 2, 1])) == 0
    assert expected_calibration_error(certain, np.array([1, 2, 0, 0])) == 1


def test_labels_drawn_from_the_probabilities_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([0.5] * 4, 20_000)
    labels = (probabilities.cumsum(1) < rng.random((20_000, 1))).sum(1)
    assert expected_calibration_error(probabilities, labels) < 0.02
    overconfident = probabilities**3 / (probabilities**3).sum(1, keepdims=True)
    assert expected_calibration_error(overconfident, labels) > 0.1


def test_bins_are_closed_on_the_right() -> None:
    probabilities = np.array([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0]])
    assert reliability(probabilities, np.zeros(3, int), bins=4).counts.tolist() == [0, 1, 1, 1]
    assert reliability(np.zeros((1, 2)), np.zeros(1, int), bins=4).counts.tolist() == [1, 0, 0, 0]


def test_rounding_errors_and_empty_tables_are_accepted() -> None:
    slightly_more_than_one = np.array([[1 + 1e-7, 0]], np.float32)
    assert reliability(slightly_more_than_one, np.array([0])).counts[-1] == 1
    assert expected_calibration_error(np.zeros((0, 3)), np.zeros(0, int)) == 0
    with pytest.raises(ValueError, match="at least one bin, got 0"):
        reliability(np.ones((1, 1)), np.zeros(1, int), bins=0)
