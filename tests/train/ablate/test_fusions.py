"""The comparison of fusion systems, with fits in this process."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from foal.shared.config.settings import ClusterSettings, Settings
from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import TrainingError, UsageError
from foal.tests.train.ablate.quick_settings import QUICK
from foal.tests.train.folds.scene_corpus import context_turn, scene_corpus
from foal.train.ablate.fusions import compare_fusions
from foal.train.fit.task import FitTask
from foal.train.metrics.significance import holm
from foal.train.run import train

UTTERANCES = scene_corpus(3, ("impro01", "script01"))
NAMES = "cross-attention,dialog-gru"
ESTIMATORS = ("regression", "regression-std", "linear-svm", "rbf-svm", "mlp")
FITTED_BASELINES = [f"{name}-{part}" for name in ESTIMATORS for part in ("audio", "face", "both")]
BASELINES = [*FITTED_BASELINES, *(f"{name}-late" for name in ESTIMATORS)]
VARIANTS = ("", "+AVEL", "+MEM", "+AVEL+MEM")
FUSION_IDS = ["dialog-gru", *(name + variant for name in ("concat", "cross-attention") for variant in VARIANTS)]
FOLDS, SEEDS = 3, (0,)
TOTAL = FOLDS * (len(FUSION_IDS) + len(FITTED_BASELINES))


def of(**changes: Any) -> Settings:
    values = {**QUICK.model_dump(), "width": 8, "seeds": SEEDS, "max_seconds": None, **changes}
    return Settings(train=TrainSettings(**values), cluster=ClusterSettings(workers=1))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fusions")


@pytest.fixture
def feats(workspace: Path, make_index: Callable[..., Path]) -> Path:
    if not (workspace / "feats.h5").exists():
        make_index(workspace, [*UTTERANCES, context_turn(UTTERANCES[0])])
    return workspace / "feats.h5"


@pytest.fixture
def out(feats: Path, requested_tasks: list[FitTask]) -> Path:
    """A comparison, computed once; read only."""
    folder = feats.parent / "out"
    if not folder.exists():
        compare_fusions(of(), feats, folder, NAMES)
        assert len(requested_tasks) == TOTAL
        requested_tasks.clear()
    return folder


def read(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "fusions.json").read_text(encoding="utf-8")))


def without_seconds(comparison: dict[str, Any]) -> dict[str, Any]:
    rows = [{**row, "seconds": None, "processor_seconds": None} for row in comparison["rows"]]
    return {**comparison, "rows": rows}


def test_every_system_has_its_rows_with_gains_and_corrected_p_values(out: Path) -> None:
    comparison = read(out)
    rows = {row["id"]: row for row in comparison["rows"]}
    assert {*rows} == {*FUSION_IDS, *BASELINES}
    assert [row["ua_mean"] for row in comparison["rows"]] == sorted((r["ua_mean"] for r in rows.values()), reverse=True)
    assert comparison["best_baseline"] == max(BASELINES, key=lambda name: rows[name]["ua_mean"])
    for other, prefix in ((comparison["reference"], ""), (comparison["best_baseline"], "baseline_")):
        family = [name for name in FUSION_IDS if name != other]
        for name in family:
            gain = rows[name]["ua_mean"] - rows[other]["ua_mean"]
            assert rows[name][f"{prefix}gain"] == pytest.approx(gain)
        assert rows[other][f"{prefix}gain"] is None
        expected = holm([rows[name][f"{prefix}p"] for name in family])
        assert [rows[name][f"{prefix}p_holm"] for name in family] == pytest.approx(expected)
        assert all(rows[name][f"{prefix}p_holm"] is None for name in BASELINES)
    assert all((row["parameters"] is None) == (row["fusion"] is None) for row in rows.values())
    assert rows["dialog-gru"]["processor_seconds"] > 0
    assert (comparison["left_out"], comparison["not_run"]) == ({}, [])
    assert any(note.startswith("context past: dialog-gru read") for note in comparison["warnings"])


def test_a_row_has_the_scores_of_a_run_of_its_system(out: Path, feats: Path, tmp_path: Path) -> None:
    rows = {row["id"]: row for row in read(out)["rows"]}
    for name in ("dialog-gru", "cross-attention+AVEL"):
        fusion, _, loss = name.partition("+")
        metrics = train(of(fusion=fusion, avel=bool(loss), mem=False), feats, tmp_path / fusion)
        assert rows[name]["ua_mean"] == pytest.approx(metrics["ua_mean"])
        assert rows[name]["per_class_recall"] == pytest.approx(metrics["per_class_recall"])


def test_the_folder_contains_all_tables(out: Path) -> None:
    names = {"fusions.json", "fusions.md", "fusions.csv", "fusions.tex", "fusions.png"}
    assert {*os.listdir(out)} == names | {"fits", "run.log"}
    assert len((out / "fusions.csv").read_text().splitlines()) == 1 + len(FUSION_IDS) + len(BASELINES)
    assert (out / "fusions.png").read_bytes().startswith(b"\x89PNG")


def test_an_interrupted_and_a_short_comparison_are_continued_to_the_same_table(
    out: Path, feats: Path, tmp_path: Path, requested_tasks: list[FitTask]
) -> None:
    def stop(done: int, total: int, name: str) -> None:
        if done == 20:
            raise KeyboardInterrupt

    folder = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        compare_fusions(of(), feats, folder, NAMES, progress=stop)
    assert [*folder.glob("fusions.*")] == []
    kept = {path.name: path.stat().st_mtime_ns for path in (folder / "fits").glob("*.npz")}
    assert len(kept) == 20
    requested_tasks.clear()

    # After the budget no row is started.
    short = compare_fusions(of(), feats, folder, NAMES, budget_minutes=0)
    assert {row["id"] for row in short["rows"]} == {"concat", *BASELINES}
    # The plain rows come before those with AVEL and MEM.
    assert short["not_run"][:2] == ["cross-attention", "dialog-gru"]
    assert len(short["not_run"]) == len(FUSION_IDS) - 1
    assert "not run, for lack of time: cross-attention" in (folder / "fusions.md").read_text()

    continued = compare_fusions(of(), feats, folder, NAMES)
    assert len(requested_tasks) == TOTAL - 20
    assert {name: (folder / "fits" / name).stat().st_mtime_ns for name in kept} == kept
    assert without_seconds(continued) == without_seconds(read(out))
    again = compare_fusions(of(), feats, folder, NAMES)
    assert (again, len(requested_tasks)) == (continued, TOTAL - 20)


def test_a_row_that_diverges_is_listed_and_the_others_stay(
    out: Path, feats: Path, tmp_path: Path, requested_tasks: list[FitTask]
) -> None:
    # Fits of baselines do not depend on the learning rate: those of the other comparison are used.
    shutil.copytree(out / "fits", tmp_path / "out" / "fits")
    # The learning rate is far above the largest that settings allow; then products of streams overflow first.
    settings = of()
    settings = settings.model_copy(update={"train": settings.train.model_copy(update={"learning_rate": 1e4})})
    comparison = compare_fusions(settings, feats, tmp_path / "out", "tfn")
    assert {"concat", *BASELINES} <= {row["id"] for row in comparison["rows"]}
    assert all(task.baseline is None for task in requested_tasks)
    assert "tfn" in comparison["diverged"]
    assert "lower train.learning_rate" in comparison["diverged"]["tfn"]
    assert comparison["not_run"] == []
    settings = settings.model_copy(update={"train": settings.train.model_copy(update={"learning_rate": 1e8})})
    with pytest.raises(TrainingError, match=r"concat, with which all systems are compared: fold 1, epoch \d"):
        compare_fusions(settings, feats, tmp_path / "other", "tfn")


def test_other_targets_and_unused_options(feats: Path, out: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--fusions: expected train\.target: label, got valence"):
        compare_fusions(of(target=("valence",)), feats, tmp_path / "out", "all")
    settings = of(fusion="concat", fusion_options={"hidden": 4})
    copy = shutil.copytree(out, tmp_path / "copy")
    comparison = compare_fusions(settings, feats, copy, NAMES)
    assert any(note.startswith("train.fusion_options are not used") for note in comparison["warnings"])
    assert comparison["rows"] == read(out)["rows"]


def test_options_of_the_command_that_exclude_each_other(
    feats: Path, foal_here: Callable[..., CompletedProcess[str]]
) -> None:
    refused = foal_here("ablate", "--features", feats, "--fusions", "all", "--deviations")
    assert refused.returncode == 2
    assert "--deviations: expected no --fusions with it" in refused.stderr
    refused = foal_here("ablate", "--features", feats, "--budget", "5")
    assert refused.returncode == 2
    assert "--budget: expected --fusions with it" in refused.stderr
