"""Scores per class and group, and calibration, from tables of predictions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score

from foal.train.evaluate.groups import BINS, calibration, class_scores, group_scores, rows_by_group, score_summary

LABELS = np.array([0, 0, 1, 1, 1, 2])
PREDICTED = np.array([[0, 1, 1, 1, 2, 2], [0, 0, 1, 0, 1, 1]])


def test_the_summary_is_the_mean_over_seeds() -> None:
    summary = score_summary(LABELS, PREDICTED, 3)
    ua = [balanced_accuracy_score(LABELS, row) for row in PREDICTED]
    assert summary["ua_mean"] == pytest.approx(np.mean(ua))
    assert summary["ua_std"] == pytest.approx(np.std(ua, ddof=1))
    assert summary["wa_mean"] == pytest.approx(np.mean([accuracy_score(LABELS, row) for row in PREDICTED]))
    assert summary["f1_mean"] == pytest.approx(np.mean([f1_score(LABELS, row, average="macro") for row in PREDICTED]))


def test_one_seed_has_no_deviation() -> None:
    assert score_summary(LABELS, PREDICTED[:1], 3)["ua_std"] is None


def test_class_scores_count_each_utterance_once() -> None:
    scores = class_scores(LABELS, PREDICTED, ["a", "b", "c"])
    assert [scores[name]["n"] for name in "abc"] == [2, 3, 1]
    recalls = recall_score(np.tile(LABELS, 2), PREDICTED.ravel(), average=None)
    assert [scores[name]["recall"] for name in "abc"] == pytest.approx(recalls)


def test_group_scores_are_the_summaries_of_the_groups() -> None:
    groups = ["x", "y", "x", "y", "x", "x"]
    scores = group_scores(LABELS, PREDICTED, groups, 3)
    assert list(scores) == ["x", "y"]
    in_x = np.array([name == "x" for name in groups])
    assert scores["x"] == {**score_summary(LABELS[in_x], PREDICTED[:, in_x], 3), "n": 4}


@given(st.lists(st.sampled_from(["", "a", "b", "unknown"])))
def test_rows_by_group_are_those_of_a_search_per_group(groups: list[str]) -> None:
    rows = {name: found.tolist() for name, found in rows_by_group(groups).items()}
    assert rows == {name: [row for row, group in enumerate(groups) if group == name] for name in sorted(set(groups))}


def test_empty_bins_of_the_calibration_are_none() -> None:
    tables = np.full((2, 4, 2), [0.9, 0.1], np.float32)
    result = calibration(tables, np.array([0, 0, 0, 1]))
    bins = result["bins"]
    assert len(bins["counts"]) == BINS
    assert sum(bins["counts"]) == 8
    assert [value is None for value in bins["accuracy"]] == [count == 0 for count in bins["counts"]]
    assert [value for value in bins["accuracy"] if value is not None] == [0.75]
    assert result["ece_mean"] == pytest.approx(0.15, abs=1e-6)
    assert result["ece_std"] == pytest.approx(0.0)
