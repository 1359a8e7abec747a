"""Runs that learn ratings, ratings and classes, and soft labels."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import TrainingError, UsageError
from foal.shared.utterance import Utterance
from foal.tests.train.quick_run import QUICK, read_csv, settings
from foal.tests.train.targets.rated_index import rated, voted
from foal.train.compare.pooled import pooled_results
from foal.train.evaluate.run import evaluate
from foal.train.report.results import read_metrics
from foal.train.run import default_run_folder, train


@pytest.fixture
def rated_feats(tmp_path: Path, sample_utterances: list[Utterance], make_index: Callable[..., Path]) -> Path:
    return make_index(tmp_path, rated(sample_utterances))


def lin_ccc(x: np.ndarray, y: np.ndarray) -> float:
    return float(2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))


def test_a_run_of_ratings_has_their_scores_and_no_classes(
    tmp_path: Path, sample_utterances: list[Utterance], make_index: Callable[..., Path]
) -> None:
    feats = make_index(tmp_path, rated(sample_utterances, unlabelled=True))
    chosen = settings(target=("valence", "arousal"), seeds=(0, 1))
    metrics = train(chosen, feats, tmp_path / "run")
    assert read_metrics(tmp_path / "run") == metrics
    assert metrics["target"] == ["valence", "arousal"]
    assert metrics["avel"] is metrics["mem"] is False
    assert (metrics["n"], metrics["classes"]) == (17, [])
    assert {"ua_mean", "confusion", "script_floor"} & metrics.keys() == set()
    assert any("AVEL and MEM" in warning for warning in metrics["warnings"])
    assert any("1 of 18 utterances left out" in warning for warning in metrics["warnings"])
    table = [row for row in read_csv(tmp_path / "run" / "predictions.csv") if row["seed"] == "1" and row["arousal"]]
    truth, predicted = (np.array([float(row[name]) for row in table]) for name in ("arousal", "predicted_arousal"))
    scores = metrics["ratings"]["dimensions"]["arousal"]
    assert scores["n"] == len(table) == 16
    assert scores["ccc_per_seed"][1] == pytest.approx(lin_ccc(predicted, truth), abs=1e-5)
    assert scores["mae_per_seed"][1] == pytest.approx(np.abs(predicted - truth).mean(), abs=1e-5)
    assert metrics["folds"][0]["ratings"]["valence"]["n"] in (5, 6)
    assert not (tmp_path / "run" / "confusion.png").exists()
    assert (tmp_path / "run" / "ratings.png").exists()


def test_classes_and_ratings_are_learned_jointly(tmp_path: Path, rated_feats: Path) -> None:
    metrics = train(settings(target=("label", "valence"), select="loss"), rated_feats, tmp_path / "run")
    assert metrics["n"] == 18
    assert metrics["avel"] is True
    assert metrics["ratings"]["dimensions"]["valence"]["n"] == 17
    assert {"ua", "ratings"} <= metrics["folds"][0].keys()
    (first, *_) = read_csv(tmp_path / "run" / "history.csv")
    parts = [float(first[name]) for name in ("loss_classes", "loss_avel", "loss_ratings")]
    total = sum(parts) + QUICK.mem_weight * float(first["loss_mem"])
    assert float(first["loss"]) == pytest.approx(total, abs=1e-5)
    assert first["dev_ccc"]


def test_a_run_without_ratings_has_no_key_of_them(tmp_path: Path, rated_feats: Path) -> None:
    metrics = train(settings(), rated_feats, tmp_path / "run")
    assert {"target", "ratings"} & metrics.keys() == set()
    assert "loss_ratings" not in read_csv(tmp_path / "run" / "history.csv")[0]
    assert all("ratings" not in fold for fold in metrics["folds"])


def test_soft_labels_are_trained_on_and_scored_against_the_majority(
    tmp_path: Path, sample_utterances: list[Utterance], make_index: Callable[..., Path]
) -> None:
    feats = make_index(tmp_path, voted(sample_utterances))
    metrics = train(settings(target=("soft",)), feats, tmp_path / "run")
    assert (metrics["n"], metrics["classes"]) == (18, ["hap", "sad"])
    labels = {row["id"]: row["label"] for row in read_csv(tmp_path / "run" / "predictions.csv")}
    assert labels["u1"] == "sad"
    assert any("1 of 18 utterances have no soft label" in warning for warning in metrics["warnings"])
    hard = train(settings(), feats, tmp_path / "hard")
    assert hard["n"] == 17
    assert hard["folds"] != metrics["folds"]


def test_an_evaluation_of_ratings_repeats_the_scores_of_the_run(tmp_path: Path, rated_feats: Path) -> None:
    chosen = settings(target=("valence", "arousal"))
    run = train(chosen, rated_feats, tmp_path / "run")
    metrics = evaluate(chosen, tmp_path / "run", rated_feats, tmp_path / "evaluation")
    for name, scores in run["ratings"]["dimensions"].items():
        assert metrics["ratings"]["dimensions"][name]["ccc_mean"] == pytest.approx(scores["ccc_mean"], abs=1e-5)
    assert set(metrics["ratings"]["robustness"]) == {"complete", "audio removed", "face removed", "face rate halved"}
    assert len(metrics["ratings"]["per_session"]) == 3


def test_runs_of_ratings_are_not_pooled(tmp_path: Path, rated_feats: Path) -> None:
    train(settings(target=("valence",)), rated_feats, tmp_path / "run")
    with pytest.raises(UsageError, match="got ratings alone"):
        pooled_results([tmp_path / "run"], [tmp_path / "run"])


def test_targets_are_part_of_the_name_of_a_run(rated_feats: Path) -> None:
    names = {default_run_folder(settings(target=target), rated_feats) for target in (("label",), ("valence",))}
    assert len(names) == 2


def test_unusable_targets_are_refused_in_one_sentence(
    tmp_path: Path, sample_utterances: list[Utterance], make_index: Callable[..., Path]
) -> None:
    utterances = rated(sample_utterances)
    constant = [replace(u, valence=3.0 if u.session != "session1" else u.valence) for u in utterances]
    odd = [replace(u, shares=(("hap", 1.0), ("bored", 2.0))) if u.id == "u4" else u for u in utterances]
    cases = [
        (utterances, "dominance", "expected ratings in the column dominance .* empty cells in all 18 utterances"),
        (constant, "valence", r"fold 1 \(test session1.* in the column valence of the training group, got only 3"),
        (utterances, "soft", "needs columns label_NAME"),
        (odd, "soft", r"the column label_bored \(id 'u4'\) names no class; expected hap, sad"),
    ]
    for number, (rows, target, message) in enumerate(cases):
        (folder := tmp_path / str(number)).mkdir()
        feats = make_index(folder, rows)
        with pytest.raises(TrainingError, match=message):
            train(settings(target=(target,)), feats, folder / "run")
        assert not (folder / "run").exists()


def test_test_ratings_do_not_influence_the_predictions(
    tmp_path: Path, sample_utterances: list[Utterance], make_index: Callable[..., Path]
) -> None:
    utterances = rated(sample_utterances)
    changed = [replace(u, valence=9.0 - (u.valence or 0)) if u.session == "session1" else u for u in utterances]
    predictions = []
    for name, rows in (("a", utterances), ("b", changed)):
        (folder := tmp_path / name).mkdir()
        train(settings(target=("valence",), protocol="loso-nested"), make_index(folder, rows), folder / "run")
        table = read_csv(folder / "run" / "predictions.csv")
        predictions.append({row["id"]: row["predicted_valence"] for row in table if row["fold"] == "session1"})
    assert predictions[0]["u0"] == predictions[1]["u0"]
    assert all(predictions[1][name] == value for name, value in predictions[0].items())


def test_the_settings_of_a_run_can_be_read_again(tmp_path: Path, rated_feats: Path) -> None:
    train(settings(target=("valence",)), rated_feats, tmp_path / "run")
    stored = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["settings"]
    assert TrainSettings.model_validate(stored).target == ("valence",)
