import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foal.shared.errors import UsageError
from foal.shared.store.feature_store import FeatureStore
from foal.shared.utterance import Utterance
from foal.tests.train.ablate.quick_settings import QUICK, SETTINGS
from foal.train.ablate.run import ablate
from foal.train.ablate.systems import System, systems_for
from foal.train.data.dataset import open_dataset
from foal.train.data.protocol import build_cross_validation
from foal.train.fit.task import FitTask, load_result, probability_table
from foal.train.metrics.classification import pooled_scores
from foal.train.report.files import versions

SYSTEMS = systems_for(["audio", "face"], "loso-nested", deviations=True)
NETWORKS = [system for system in SYSTEMS if system.kind == "network"]
FITTED = [system for system in SYSTEMS if system.is_fitted]
BASELINES = ("regression", "regression-std", "linear-svm", "rbf-svm", "mlp")
SYSTEM_IDS = [
    "majority",
    *(f"{name}-{part}" for name in BASELINES for part in ("audio", "face", "both", "late")),
    "audio",
    "face",
    "late",
    "fusion",
    "avel",
    "mem",
    "full",
    "reference",
    "deviation-temperature",
    "deviation-sum",
    "deviation-own-pairs",
    "deviation-same-class",
    "deviation-cut",
    "deviation-on-test",
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ablation")


@pytest.fixture
def utterances(sample_utterances: list[Utterance]) -> list[Utterance]:
    """More "sad" utterances in the first session, more "hap" in the second, equally many in the third."""
    changed = {"u0": "sad", "u1": "hap"}
    return [replace(u, label=changed.get(u.id, u.label)) for u in sample_utterances]


@pytest.fixture
def out(workspace: Path, utterances: list[Utterance], make_index: Callable[..., Path]) -> Path:
    """An ablation of all systems, computed once with a Dask worker; read only."""
    if not (workspace / "out").exists():
        steps: list[tuple[int, int, str]] = []
        feats = make_index(workspace, utterances)
        ablation = ablate(
            SETTINGS, feats, workspace / "out", deviations=True, progress=lambda *step: steps.append(step)
        )
        (workspace / "returned.json").write_text(json.dumps(ablation))
        (workspace / "steps.json").write_text(json.dumps(steps))
    return workspace / "out"


@pytest.fixture
def copied(out: Path, tmp_path: Path) -> Path:
    """A copy of the ablation that a test may modify."""
    shutil.copytree(out.parent, tmp_path / "copy")
    return tmp_path / "copy" / "out"


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def rows_of(ablation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in ablation["rows"]}


def without_seconds(ablation: dict[str, Any]) -> dict[str, Any]:
    return {**ablation, "rows": [{**row, "seconds": None} for row in ablation["rows"]]}


def modification_times(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "fits").iterdir()}


def table_of(system: System, out: Path) -> np.ndarray:
    """The probabilities (seeds, 18, 2) of a system, from the files of its fits."""
    with open_dataset(out.parent / "feats.h5", QUICK, classes=None) as data:
        folds = build_cross_validation(data.utterances, system.protocol or "loso-nested", data.speakers)
        tables = []
        for seed in (0, 1) if system.is_random else (0,):
            tasks = [
                FitTask(
                    baseline=system.baseline,
                    inputs=system.inputs,
                    settings=system.settings(QUICK, "loso-nested"),
                    seed=seed,
                    fold=k,
                    folder=out / "fits",
                )
                for k in (1, 2, 3)
            ]
            results = [load_result(task.path(data, folds)) for task in tasks]
            tables.append(probability_table(data, folds, results, seed))
    return np.stack(tables)


def scores_of(tables: np.ndarray, utterances: Sequence[Utterance]) -> dict[str, Any]:
    labels = np.array([("hap", "sad").index(u.label) for u in utterances])
    speakers = [f"{u.corpus}/{u.speaker}" for u in utterances]
    scores = pooled_scores(labels, tables.argmax(-1), speakers, classes=("hap", "sad"), resamples=QUICK.bootstrap)
    del scores["confusion"]
    return scores


@pytest.mark.slow
def test_every_system_has_a_row_with_the_scores_of_its_fits(out: Path, utterances: list[Utterance]) -> None:
    ablation = read(out / "ablation.json")
    assert ablation == read(out.parent / "returned.json")
    assert [row["id"] for row in ablation["rows"]] == [system.id for system in SYSTEMS] == SYSTEM_IDS
    tables = {system.id: table_of(system, out) for system in SYSTEMS if system.is_fitted}
    for system in SYSTEMS:
        if system.kind == "late":
            tables[system.id] = np.mean([tables[part] for part in system.parts], axis=0)
    rows = rows_of(ablation)
    for system in SYSTEMS:
        row = rows[system.id]
        assert (row["name"], row["description"]) == (system.name, system.description)
        if system.kind == "majority":
            continue
        scores = scores_of(tables[system.id], utterances)
        assert {name: row[name] for name in scores} == scores
        assert row["seeds"] == len(tables[system.id]) == (2 if system.is_random else 1)
        assert (row["epoch_mean"] == 1) == (system.kind == "network")
        assert (row["seconds"] is None) == (system.kind == "late")
    assert len({row["ua_mean"] for row in rows.values()}) > 3


@pytest.mark.slow
def test_the_majority_class_is_that_of_the_training_group(out: Path, utterances: list[Utterance]) -> None:
    # The first fold is trained on the third session, where the first class wins the tie; the others accordingly.
    majority = {"session1": "hap", "session2": "sad", "session3": "hap"}
    table = np.eye(2)[[("hap", "sad").index(majority[u.session]) for u in utterances]][None]
    row = rows_of(read(out / "ablation.json"))["majority"]
    scores = scores_of(table, utterances)
    assert {name: row[name] for name in scores} == scores
    assert (row["seeds"], row["epoch_mean"], row["seconds"], row["ua_std"]) == (1, None, None, None)


@pytest.mark.slow
def test_the_study_has_gains_and_metadata(out: Path) -> None:
    ablation = read(out / "ablation.json")
    rows = rows_of(ablation)
    assert ablation["baseline"] == "fusion"
    for key, row in rows.items():
        assert {key == "fusion"} == {row[name] is None for name in ("gain", "gain_ci95", "p")}
        if key != "fusion":
            assert row["gain"] == pytest.approx(row["ua_mean"] - rows["fusion"]["ua_mean"])
            assert 0 < row["p"] <= 1
            low, high = row["gain_ci95"]
            assert low <= high
    assert {key: row["protocol"] for key, row in rows.items() if row["selected_on_test"]} == {
        "deviation-on-test": "loso-reference"
    }
    assert {row["protocol"] for key, row in rows.items() if key != "deviation-on-test"} == {"loso-nested"}
    with open_dataset(out.parent / "feats.h5", QUICK, classes=None) as data:
        folds = build_cross_validation(data.utterances, "loso-nested", data.speakers)
    with FeatureStore(out.parent / "feats.h5") as store:
        digest = store.digest
    verdict = ablation["verdict"]
    assert {name: value for name, value in ablation.items() if name not in ("rows", "warnings", "verdict")} == {
        "protocol": "loso-nested",
        "selected_on_test": False,
        "features": digest,
        "folds_digest": folds.digest,
        "seeds": [0, 1],
        "classes": ["hap", "sad"],
        "n": 18,
        "speakers": 6,
        "random_weights": True,
        "versions": versions(),
        "streams": ["audio", "face"],
        "fold_streams": {},
        "settings": QUICK.model_dump(mode="json"),
        "baseline": "fusion",
        "encoder_saw_corpus": False,
        "script_floor": None,
        "label_inertia": None,
    }
    assert verdict["system"] == "full"
    best = max((row for key, row in rows.items() if key.startswith(BASELINES)), key=lambda row: row["ua_mean"])
    assert rows[verdict["baseline"]]["ua_mean"] == best["ua_mean"]
    assert verdict["gain"] == pytest.approx(rows["full"]["ua_mean"] - best["ua_mean"])
    assert any(note.startswith("random weights") for note in ablation["warnings"])
    markdown = (out / "ablation.md").read_text(encoding="utf-8")
    assert markdown.count("selected on test") == 1
    assert all(f"| {system.name} " in markdown for system in SYSTEMS)
    assert (out / "ablation.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(os.listdir(out)) == ["ablation.json", "ablation.md", "ablation.png", "fits", "run.log"]


@pytest.mark.slow
def test_every_fit_is_computed_once_and_reported(out: Path) -> None:
    assert rows_of(read(out / "ablation.json"))["deviation-cut"] == {
        **rows_of(read(out / "ablation.json"))["full"],
        **{name: rows_of(read(out / "ablation.json"))["deviation-cut"][name] for name in ("id", "name", "description")},
    }
    random = sum(system.is_random for system in FITTED) - 1  # one has the fits of another
    total = 3 * (2 * random + sum(not system.is_random for system in FITTED))
    assert len(modification_times(out)) == total
    steps = json.loads((out.parent / "steps.json").read_text())
    assert [step[:2] for step in steps] == [[completed, total] for completed in range(total + 1)]
    assert steps[0][2] == ""
    reported_names = [name for _, _, name in steps[1:]]
    assert {reported_names.count(system.id) for system in FITTED if not system.is_random} == {3}
    network_ids = [system.id for system in NETWORKS if system.id not in ("full", "deviation-cut")]
    assert {reported_names.count(key) for key in network_ids} == {6}
    assert reported_names.count("full") + reported_names.count("deviation-cut") == 6


@pytest.mark.slow
def test_finished_fits_are_not_repeated(copied: Path, requested_tasks: list[FitTask]) -> None:
    before, content = modification_times(copied), (copied / "ablation.json").read_bytes()
    outputs = [(copied / name).read_bytes() for name in ("ablation.png", "ablation.md")]
    steps: list[tuple[int, int, str]] = []
    ablate(SETTINGS, copied.parent / "feats.h5", copied, deviations=True, progress=lambda *step: steps.append(step))
    assert steps == [(len(before), len(before), "")]
    assert requested_tasks == []
    assert modification_times(copied) == before
    assert (copied / "ablation.json").read_bytes() == content
    assert [(copied / name).read_bytes() for name in ("ablation.png", "ablation.md")] == outputs


@pytest.mark.slow
def test_only_missing_fits_are_repeated(copied: Path, requested_tasks: list[FitTask]) -> None:
    before, content = modification_times(copied), read(copied / "ablation.json")
    deleted = {name: load_result(copied / "fits" / name) for name in sorted(before)[:: len(before) // 3 + 1]}
    assert len(deleted) == 3
    for name in deleted:
        (copied / "fits" / name).unlink()
    steps: list[tuple[int, int, str]] = []
    repeated = ablate(
        SETTINGS, copied.parent / "feats.h5", copied, deviations=True, progress=lambda *step: steps.append(step)
    )
    assert [step[:2] for step in steps] == [(len(before) - left, len(before)) for left in (3, 2, 1, 0)]
    after = modification_times(copied)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == deleted.keys()
    for name, result in deleted.items():
        # Computed in this process; the deleted result was computed by a worker.
        np.testing.assert_array_equal(load_result(copied / "fits" / name).probabilities, result.probabilities)
    assert without_seconds(repeated) == without_seconds(content)


@pytest.mark.slow
def test_an_added_seed_computes_only_its_own_fits(copied: Path, requested_tasks: list[FitTask]) -> None:
    before = modification_times(copied)
    settings = SETTINGS.model_copy(update={"train": QUICK.model_copy(update={"seeds": (0, 1, 5)})})
    extended = ablate(settings, copied.parent / "feats.h5", copied, deviations=False)
    added = [system for system in FITTED if system.is_random and not system.id.startswith("deviation-")]
    assert {task.seed for task in requested_tasks} == {5}
    assert len(requested_tasks) == 3 * len(added)
    after = modification_times(copied)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + len(requested_tasks)
    assert extended["seeds"] == [0, 1, 5]
    assert [row["id"] for row in extended["rows"]] == [key for key in SYSTEM_IDS if not key.startswith("deviation-")]
    assert {row["id"]: row["seeds"] for row in extended["rows"]} == {
        system.id: 3 if system.is_random else 1 for system in SYSTEMS if not system.id.startswith("deviation-")
    }
    restored = ablate(SETTINGS, copied.parent / "feats.h5", copied, deviations=True)
    assert restored == read(copied.parent / "returned.json") | {"rows": restored["rows"]}


def test_a_folder_with_other_files_is_refused(feats: Path, tmp_path: Path, requested_tasks: list[FitTask]) -> None:
    thesis = tmp_path / "mine" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    for out in (thesis.parent, thesis):
        with pytest.raises(UsageError, match=r"expected a (new )?folder"):
            ablate(SETTINGS, feats, out)
    assert (os.listdir(thesis.parent), thesis.read_text()) == (["thesis.txt"], "years of work")
    assert requested_tasks == []
