"""Runs whose features differ by fold: every fold reads its own stream, and nothing of the others."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from foal.shared.errors import TrainingError
from foal.shared.utterance import Utterance
from foal.tests.train.fold_index import SEEDS, TEMPLATE, write_fold_index
from foal.tests.train.quick_run import read_csv, settings
from foal.train.ablate.run import ablate
from foal.train.evaluate.run import evaluate
from foal.train.report.results import run_title
from foal.train.run import default_run_folder, train

Make = Callable[..., Path]
SESSIONS = tuple(SEEDS)


def predictions(run: Path, fold: str, *without: str) -> list[dict[str, str]]:
    """Rows of a test group in predictions.csv, without some columns."""
    rows = [row for row in read_csv(run / "predictions.csv") if row["fold"] == fold]
    return [{name: value for name, value in row.items() if name not in without} for row in rows]


def fold_of(metrics: dict[str, Any], test: str) -> dict[str, Any]:
    return next(dict(fold) for fold in metrics["folds"] if fold["test"] == test)


@pytest.fixture
def fold_index(tmp_path: Path, sample_utterances: list[Utterance], make_features: Make) -> Path:
    return write_fold_index(tmp_path, sample_utterances, make_features)


@pytest.mark.slow
@pytest.mark.parametrize("reading", [{}, {"load": "disk", "normalize": "speaker", "max_seconds": 0.5}])
def test_a_fold_equals_that_of_a_run_on_its_stream(fold_index: Path, tmp_path: Path, reading: dict[str, Any]) -> None:
    metrics = train(settings(fold_features=(TEMPLATE,), **reading), fold_index, tmp_path / "run")
    for session in SESSIONS:
        alone = train(settings(streams=(f"audio/ft-{session}", "face"), **reading), fold_index, tmp_path / session)
        assert fold_of(metrics, session) == fold_of(alone, session)
        assert predictions(tmp_path / "run", session) == predictions(tmp_path / session, session)
    assert metrics["speaker_statistics"] == ("normalize" in reading)
    assert any("speaker statistics" in text for text in metrics["warnings"]) == ("normalize" in reading)


@pytest.mark.slow
def test_a_dialog_head_reads_the_stream_of_each_fold(
    tmp_path: Path, sample_utterances: list[Utterance], make_features: Make
) -> None:
    turns = [replace(u, dialog=u.session, turn=number) for number, u in enumerate(sample_utterances)]
    index = write_fold_index(tmp_path, turns, make_features)
    changes = {"fusion": "dialog-gru", "epochs": 1}
    metrics = train(settings(fold_features=(TEMPLATE,), **changes), index, tmp_path / "run")
    assert metrics["fusion"] == "dialog-gru"
    for session in SESSIONS:
        train(settings(streams=(f"audio/ft-{session}", "face"), **changes), index, tmp_path / session)
        assert predictions(tmp_path / "run", session) == predictions(tmp_path / session, session)


@pytest.mark.slow
def test_a_fold_does_not_depend_on_other_streams_or_on_the_labels_of_its_test_group(
    fold_index: Path, tmp_path: Path, sample_utterances: list[Utterance], make_features: Make
) -> None:
    train(settings(fold_features=(TEMPLATE,), seeds=(0, 1)), fold_index, tmp_path / "run")
    for number, session in enumerate(SESSIONS):
        others = {name: seed if name == session else seed + 10 for name, seed in SEEDS.items()}
        changed = [
            replace(u, label={"hap": "sad", "sad": "hap"}[u.label]) if u.session == session else u
            for u in sample_utterances
        ]
        folder = tmp_path / f"changed{number}"
        feats = write_fold_index(folder, changed, make_features, seeds=others)
        train(settings(fold_features=(TEMPLATE,), seeds=(0, 1)), feats, folder / "run")
        before, after = (predictions(run, session, "label") for run in (tmp_path / "run", folder / "run"))
        assert before == after
        for other in set(SESSIONS) - {session}:
            assert predictions(tmp_path / "run", other, "label") != predictions(folder / "run", other, "label")


@pytest.mark.slow
def test_the_results_name_the_streams_of_every_fold(fold_index: Path, tmp_path: Path) -> None:
    t = settings(fold_features=("audio/ft-session{fold}",), seeds=(2, 1))
    metrics = train(t, fold_index, tmp_path / "run")
    described = json.loads((tmp_path / "run" / "run.json").read_text())
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == metrics
    for result in (metrics, described):
        assert result["streams"] == ["audio/ft-session{fold}", "face"]
        assert result["fold_streams"]["3"] == {"audio": "audio/ft-session3", "face": "face"}
    assert run_title(metrics) == "audio and face + AVEL + MEM (features per fold; encoder with random weights)"
    assert [(fold["seed"], fold["fold"]) for fold in metrics["folds"]] == [(s, k) for s in (2, 1) for k in (1, 2, 3)]
    assert set(described["provenance"]) == {"face", *(f"audio/ft-{session}" for session in SESSIONS)}
    name = default_run_folder(t, fold_index).name
    assert name.startswith("foalnet-audio_ft-sessionfold+face-loso-nested-")
    assert default_run_folder(settings(fold_features=(TEMPLATE,), seeds=(2, 1)), fold_index).name != name
    assert train(t, fold_index, tmp_path / "run", resume=True) == metrics


@pytest.mark.slow
def test_evaluation_uses_the_stream_of_each_fold_and_its_width(
    tmp_path: Path, sample_utterances: list[Utterance], make_features: Make
) -> None:
    feats = write_fold_index(tmp_path, sample_utterances, make_features, widths=(8, 7, 5))
    t = settings(fold_features=(TEMPLATE,), seeds=(0, 1))
    trained = train(t, feats, tmp_path / "run")
    metrics = evaluate(settings(), tmp_path / "run", feats, tmp_path / "evaluation")
    for key in ("ua_mean", "wa_mean", "f1_mean", "ua_ci95", "confusion", "fold_streams", "streams"):
        assert metrics[key] == trained[key]
    assert "features per fold" in run_title(metrics)
    assert {name.partition(":")[0] for name in metrics["retrieval"]} == {"avel", "raw"}
    single = evaluate(settings(), tmp_path / "run" / "models" / "seed1-fold2", feats, tmp_path / "single")
    assert single["n"] == 6
    assert single["ua_mean"] == next(f["ua"] for f in trained["folds"] if (f["seed"], f["fold"]) == (1, 2))


@pytest.mark.slow
def test_evaluation_of_another_corpus_is_refused(
    fold_index: Path, tmp_path: Path, sample_utterances: list[Utterance], make_features: Make
) -> None:
    train(settings(fold_features=(TEMPLATE,)), fold_index, tmp_path / "run")
    mixed = [replace(u, corpus="other", session="") if i % 2 else u for i, u in enumerate(sample_utterances)]
    feats = write_fold_index(tmp_path / "mixed", mixed, make_features)
    with pytest.raises(TrainingError, match=r"got 9 others, which no single stream fits because .*; choose .*--split"):
        evaluate(settings(), tmp_path / "run", feats, tmp_path / "out")
    assert evaluate(settings(), tmp_path / "run", feats, tmp_path / "out", sessions=SESSIONS)["n"] == 9


@pytest.mark.slow
def test_the_ablation_reads_the_stream_of_each_fold(fold_index: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"streams": ("audio",), "seeds": (0,)}
    study = ablate(settings(fold_features=(TEMPLATE,), **changes), fold_index, tmp_path / "ablation")
    assert study["fold_streams"]["2"] == {"audio": "audio/ft-session2"}
    assert (tmp_path / "ablation" / "ablation.md").read_text().startswith("# Ablation (features per fold; encoder")
    t = settings(fold_features=(TEMPLATE,), avel=False, mem=False, **changes)
    network = next(row for row in study["rows"] if row["id"] == "audio")
    assert network["ua_mean"] == train(t, fold_index, tmp_path / "run")["ua_mean"]
