"""Tests of the ratings in a detailed evaluation, with a run of ratings and classes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foal.shared.utterance import Utterance
from foal.tests.train.quick_run import read_csv, settings
from foal.tests.train.targets.rated_index import rated
from foal.train.evaluate.run import evaluate
from foal.train.run import train


def test_ratings_are_scored_beside_classes_by_speaker_and_session(
    tmp_path: Path, sample_utterances: list[Utterance], make_index: Callable[..., Path]
) -> None:
    feats, chosen = make_index(tmp_path, rated(sample_utterances)), settings(target=("label", "valence"), seeds=(0, 1))
    run = train(chosen, feats, tmp_path / "run")
    metrics = evaluate(chosen, tmp_path / "run", feats, tmp_path / "evaluation", sessions=["session2"])
    assert metrics["target"] == ["label", "valence"]
    assert metrics["ua_mean"] == pytest.approx(np.mean([fold["ua"] for fold in run["folds"] if fold["fold"] == 2]))
    table = [row for row in read_csv(tmp_path / "run" / "predictions.csv") if row["fold"] == "session2"]
    error = [abs(float(row["valence"]) - float(row["predicted_valence"])) for row in table if row["valence"]]
    scores = metrics["ratings"]
    assert scores["mae_mean"] == pytest.approx(np.mean(error), abs=1e-5)
    assert scores["per_session"]["session2"]["valence"]["n"] == 5
    assert sum(speaker["valence"]["n"] for speaker in scores["per_speaker"].values()) == 5
    assert scores["robustness"]["complete"] == pytest.approx(scores["ccc_mean"])
