"""`foal train --final`: networks trained on all utterances, beside the folds."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from foal.shared.errors import TrainingError
from foal.shared.utterance import Utterance
from foal.tests.train.quick_run import settings
from foal.train.data.dataset import open_dataset
from foal.train.evaluate.ensemble import load_fold_models
from foal.train.evaluate.run import evaluate
from foal.train.final.run import median_epochs
from foal.train.fit.history import Epoch
from foal.train.fit.loop import train_on_all
from foal.train.fit.task import FoldScore
from foal.train.report.files import results_table
from foal.train.run import train

SETTINGS = settings(seeds=(0, 1), epochs=3, threads=1)
FINAL = {"epochs": 3, "n": 18, "score": None}


class StoppedError(Exception):
    """Raised by a test to interrupt a run."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("final")


@pytest.fixture
def feats(workspace: Path, sample_utterances: list[Utterance], make_index: Callable[..., Path]) -> Path:
    """18 utterances of two classes in three sessions; created once, read only."""
    if not (workspace / "feats.h5").exists():
        make_index(workspace, sample_utterances)
    return workspace / "feats.h5"


@pytest.fixture
def plain(feats: Path) -> Path:
    """A finished run without final networks."""
    if not (feats.parent / "plain").exists():
        train(SETTINGS, feats, feats.parent / "plain")
    return feats.parent / "plain"


@pytest.fixture
def run(feats: Path) -> Path:
    """A run of two seeds with final networks."""
    if not (feats.parent / "run").exists():
        train(SETTINGS, feats, feats.parent / "run", final=True)
    return feats.parent / "run"


def files_in(run: Path) -> dict[str, bytes]:
    """The files of a run without its log; of metrics.json all but the key `final`."""
    files = {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}
    metrics = json.loads(files["metrics.json"])
    metrics.pop("final", None)
    return {**files, "metrics.json": json.dumps(metrics).encode(), "run.log": b""}


def test_folds_and_scores_are_the_same_with_final_networks(plain: Path, run: Path) -> None:
    without, with_final = files_in(plain), files_in(run)
    assert with_final.items() >= without.items()
    added = {f"models/final-seed{seed}/{name}" for seed in (0, 1) for name in ("config.json", "model.safetensors")}
    assert with_final.keys() - without.keys() == added
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["final"] == FINAL
    assert "final" not in json.loads((plain / "metrics.json").read_text(encoding="utf-8"))


def test_a_final_network_has_seen_all_utterances_and_has_no_score(run: Path, feats: Path) -> None:
    first, second = load_fold_models(run, final=True)
    assert [(m.seed, m.fold, m.test, m.is_final) for m in (first, second)] == [(0, 0, "", True), (1, 0, "", True)]
    assert first.metadata["final"] is True
    assert first.metadata["trained_on"] == 18
    assert "score" not in first.metadata
    with open_dataset(feats, SETTINGS.train, classes=None) as data:
        everything = torch.cat(list(data.features.streams["audio"].values[None]))  # type: ignore[attr-defined]
        valid = data.features.streams["audio"].valid  # type: ignore[attr-defined]
        trained = train_on_all(data, SETTINGS.train, seed=0, epochs=3, device=torch.device("cpu"))
    projection = first.model.projections["audio"]
    torch.testing.assert_close(projection.mean, everything[valid].double().mean(0).float())
    assert all(torch.equal(value, trained.model.state_dict()[name]) for name, value in first.model.state_dict().items())
    assert not any(
        torch.equal(value, second.model.state_dict()[name])
        for name, value in first.model.state_dict().items()
        if name.startswith("classifier") and value.dim() == 2
    )


def test_final_networks_are_added_to_a_finished_run(plain: Path, run: Path, feats: Path, tmp_path: Path) -> None:
    shutil.copytree(plain, tmp_path / "run")
    steps: list[Epoch | FoldScore] = []
    metrics = train(SETTINGS, feats, tmp_path / "run", resume=True, final=True, progress=steps.append)
    assert metrics["final"] == FINAL
    assert files_in(tmp_path / "run") == files_in(run)
    assert [(step.fold, step.epoch) for step in steps if isinstance(step, Epoch)] == [(0, 1), (0, 2), (0, 3)] * 2
    assert len(steps) == 6
    again = train(SETTINGS, feats, tmp_path / "run", resume=True, final=True, progress=steps.append)
    assert (again, len(steps)) == (metrics, 6)


def test_an_interrupted_final_network_is_resumed(run: Path, feats: Path, tmp_path: Path) -> None:
    def stop(step: Epoch | FoldScore) -> None:
        if isinstance(step, Epoch) and (step.seed, step.fold, step.epoch) == (1, 0, 2):
            raise StoppedError

    with pytest.raises(StoppedError):
        train(SETTINGS, feats, tmp_path / "run", final=True, progress=stop)
    assert not (tmp_path / "run").exists()
    train(SETTINGS, feats, tmp_path / "run", final=True, resume=True)
    assert files_in(tmp_path / "run") == files_in(run)


def test_a_final_network_is_not_evaluated(plain: Path, run: Path, feats: Path, tmp_path: Path) -> None:
    expected = evaluate(SETTINGS, plain, feats, tmp_path / "plain")
    assert evaluate(SETTINGS, run, feats, tmp_path / "run") == expected
    with pytest.raises(TrainingError, match="trained on all utterances of the run, so that no score belongs to it"):
        evaluate(SETTINGS, run / "models" / "final-seed0", feats, tmp_path / "final")


def test_results_say_that_no_score_belongs_to_a_final_network(plain: Path, run: Path) -> None:
    def shown(folder: Path) -> str:
        console = Console(width=200, record=True)
        console.print(results_table(json.loads((folder / "metrics.json").read_text(encoding="utf-8"))))
        return console.export_text()

    line = "final model: trained on all 18 utterances for 3 epochs (the median of the folds); no score belongs to it"
    assert line in shown(run)
    assert "final model" not in shown(plain)


@pytest.mark.parametrize(("epochs", "expected"), [((4, 9, 5), 5), ((4, 5), 5), ((2, 4), 3), ((7,), 7)])
def test_the_number_of_epochs_is_the_median_of_the_folds(epochs: tuple[int, ...], expected: int) -> None:
    assert median_epochs({"folds": [{"epoch": epoch} for epoch in epochs]}) == expected


def test_dialog_heads_train_on_all_turns(
    sample_utterances: list[Utterance], make_index: Callable[..., Path], tmp_path: Path
) -> None:
    turns = [replace(u, dialog=f"{u.session}-{i // 9}", turn=i) for i, u in enumerate(sample_utterances)]
    of_dialogs = settings(fusion="dialog-gru", epochs=1)
    metrics = train(of_dialogs, make_index(tmp_path, turns), tmp_path / "run", final=True)
    assert metrics["final"] == {"epochs": 1, "n": 18, "score": None}
    assert [member.fold for member in load_fold_models(tmp_path / "run", final=True)] == [0]


def test_features_per_fold_allow_no_final_network(feats: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"--final: expected features that all folds share, got audio/ft-\{test\}"):
        train(settings(fold_features=("audio/ft-{test}",)), feats, tmp_path / "run", final=True)
    assert not (tmp_path / "run").exists()
