"""Scores by scene, and the script floor, of networks that were trained without session and scene of their block."""

from collections.abc import Callable
from pathlib import Path

import pytest

from foal.shared.config.settings import Settings
from foal.tests.train.folds.scene_corpus import context_turn, scene_corpus
from foal.tests.train.quick_run import settings
from foal.train.evaluate.run import evaluate
from foal.train.report.results import read_metrics
from foal.train.run import train

UTTERANCES = scene_corpus(3, ("impro01", "impro02", "script01"))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture
def run(scenes: Path, make_index: Callable[..., Path]) -> Path:
    if not (scenes / "run").exists():
        feats = make_index(scenes, [*UTTERANCES, context_turn(UTTERANCES[0])])
        quick = settings(protocol="loso-scenes-nested", width=8, epochs=1, layers=0, seeds=(0, 1))
        train(quick, feats, scenes / "run")
    return scenes / "run"


def test_each_network_of_a_block_scores_its_block_alone(run: Path, feats: Path, tmp_path: Path) -> None:
    metrics = evaluate(Settings(), run, feats, tmp_path / "all")
    assert metrics["n"] == len(UTTERANCES)
    trained = read_metrics(run)
    for key in ("ua_mean", "confusion", "script_floor"):
        found, expected = metrics[key], trained[key]
        if key == "script_floor":
            found, expected = found["levels"], expected["levels"]
        assert found == expected
    assert set(metrics["per_block"]) == {f"{u.session} {u.scene}" for u in UTTERANCES}
    assert {name: scores["n"] for name, scores in metrics["per_scene"].items()} == {
        "impro01": 18,
        "impro02": 18,
        "script01": 18,
    }
    assert {name: scores["n"] for name, scores in metrics["per_scene_kind"].items()} == {
        "scripted": 18,
        "improvised": 36,
    }
    assert metrics["label_inertia"] == {"agreement": 0.0, "pairs": 36}
    assert set(metrics["retrieval"]) == {
        f"{s}: {d}" for s in ("avel", "raw") for d in ("audio to face", "face to audio")
    }


def test_the_floor_of_an_evaluation_needs_the_training_utterances(
    run: Path, feats: Path, tmp_path: Path, make_index: Callable[..., Path]
) -> None:
    one_session = evaluate(Settings(), run, feats, tmp_path / "one", sessions=["session1"])
    assert one_session["n"] == 18
    assert one_session["script_floor"]["levels"]["time"]["n"] == 18
    (tmp_path / "few").mkdir()
    few = make_index(tmp_path / "few", [u for u in UTTERANCES if u.session == "session1"])
    metrics = evaluate(Settings(), run, few, tmp_path / "other")
    assert metrics["script_floor"]["levels"] == {}
    assert "lack utterances that the networks were trained on" in metrics["script_floor"]["note"]
