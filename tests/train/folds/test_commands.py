"""All commands of training under the protocols without the script, on features of a corpus of repeated scenes."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foal.shared.config.settings import Settings
from foal.tests.train.fits_in_process import requested_tasks  # noqa: F401  (a fixture)
from foal.tests.train.folds.scene_corpus import context_turn, scene_corpus
from foal.tests.train.quick_run import settings
from foal.train.ablate.run import ablate
from foal.train.compare.pooled import pooled_results
from foal.train.evaluate.run import evaluate
from foal.train.fit.task import FitTask
from foal.train.run import train
from foal.train.tune.run import tune

UTTERANCES = scene_corpus(3, ("impro01", "impro02", "script01"))
CONTEXT = context_turn(UTTERANCES[0])


def of(protocol: str, **changes: Any) -> Settings:
    return settings(protocol=protocol, width=8, epochs=1, layers=0, **changes)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture
def feats(workspace: Path, make_index: Callable[..., Path]) -> Path:
    if not (workspace / "feats.h5").exists():
        make_index(workspace, [*UTTERANCES, CONTEXT])
    return workspace / "feats.h5"


@pytest.fixture
def run(feats: Path) -> Path:
    folder = feats.parent / "run"
    if not folder.exists():
        train(of("loso-scenes-nested", seeds=(0, 1)), feats, folder)
    return folder


def test_a_run_has_a_fold_per_block_and_the_floor_of_its_protocol(run: Path, feats: Path) -> None:
    metrics = train(of("loso-scenes-nested", seeds=(0, 1)), feats, run, resume=True)
    assert metrics["protocol"] == "loso-scenes-nested"
    assert [fold["test"] for fold in metrics["folds"][:3]] == [
        "session1 impro01",
        "session1 impro02",
        "session1 script01",
    ]
    assert len(metrics["folds"]) == 2 * 9
    assert metrics["n"] == len(UTTERANCES)
    assert any(warning.startswith("loso-scenes-nested: 9 test blocks") for warning in metrics["warnings"])
    assert not any("speaker-independent" in warning for warning in metrics["warnings"])
    assert metrics["script_floor"]["covered"] == 0
    assert metrics["script_floor"]["context"] is True
    assert list(metrics["script_floor"]["levels"]) == ["scenario", "role", "time"]
    with (run / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(row["id"], row["fold"]) for row in rows} == {(u.id, f"{u.session} {u.scene}") for u in UTTERANCES}
    # In these dialogs the label follows from the place in the dialog, which another session of the scene tells.
    leaky = train(of("loso-nested"), feats, feats.parent / "loso")
    assert leaky["script_floor"]["levels"]["time"]["wa"] == 1.0
    assert leaky["script_floor"]["covered"] == 1


def test_features_are_read_from_disk_under_the_same_folds(run: Path, feats: Path, tmp_path: Path) -> None:
    on_disk = train(of("loso-scenes-nested", load="disk", scene_groups=3), feats, tmp_path / "disk")
    in_memory = train(of("loso-scenes-nested", seeds=(0, 1)), feats, run, resume=True)
    assert on_disk["script_floor"] == in_memory["script_floor"]
    assert on_disk["folds_digest"] == in_memory["folds_digest"]  # three groups of the three scenes


def test_the_split_of_erc_is_trained_evaluated_and_pooled(feats: Path, tmp_path: Path) -> None:
    out = tmp_path / "erc"
    metrics = train(of("erc-split"), feats, out)
    assert [(fold["test"], fold["dev"]) for fold in metrics["folds"]] == [("session3", "1 dialog")]
    assert metrics["n"] == 18
    assert metrics["script_floor"]["levels"]["time"]["n"] == 18
    evaluated = evaluate(Settings(), out, feats, tmp_path / "evaluation")
    assert evaluated["n"] == 18
    assert "36 utterances left out" in " ".join(evaluated["warnings"])
    assert evaluated["script_floor"]["levels"] == metrics["script_floor"]["levels"]
    pooled = pooled_results([out])
    for level, scores in pooled["script_floor"]["levels"].items():
        assert scores == {name: metrics["script_floor"]["levels"][level][name] for name in scores}


def test_studies_run_under_the_protocols(feats: Path, tmp_path: Path, requested_tasks: list[FitTask]) -> None:  # noqa: F811
    quick = of("erc-split", modalities="audio")
    ablation = ablate(quick, feats, tmp_path / "ablation")
    rows = {row["id"]: row for row in ablation["rows"]}
    assert [row["id"] for row in ablation["rows"]][:4] == ["majority", "script-scenario", "script-role", "script-time"]
    floor = ablation["script_floor"]["levels"]
    assert rows["script-time"]["wa_mean"] == floor["time"]["wa"] == 1.0
    assert rows["script-role"]["wa_mean"] == floor["role"]["wa"] < 1.0
    assert rows["script-time"]["seconds"] is None
    text = (tmp_path / "ablation" / "ablation.md").read_text(encoding="utf-8")
    assert "- script floor (scene + role + time of training utterances, no media): UA 100.0" in text
    assert "- label inertia (diagnostic, reads labels)" in text
    tuning = tune(quick, feats, tmp_path / "tune", trials=2)
    assert [fold["test"] for fold in tuning["folds"]] == ["session3"]
    assert {task.settings.protocol for task in requested_tasks} == {"erc-split"}
