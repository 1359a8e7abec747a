"""Interrupted fits and runs are resumed with the same results."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from foal.shared.config.settings import Settings
from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import FoalError, UsageError
from foal.train.data.dataset import Dataset
from foal.train.data.protocol import build_cross_validation
from foal.train.fit import snapshot as resume
from foal.train.fit.history import Epoch
from foal.train.fit.loop import TrainedFold, train_fold
from foal.train.fit.task import FoldScore
from foal.train.run import train

CPU = torch.device("cpu")
QUICK = TrainSettings(
    width=16,
    heads=2,
    layers=1,
    epochs=7,
    early_stopping_patience=4,
    learning_rate=5e-3,
    batch_size=8,
    bootstrap=50,
    select="ua",
    refit=False,
)


class StoppedError(Exception):
    """Raised by a test to interrupt a fit."""


@pytest.fixture(autouse=True)
def write_snapshot_after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "MIN_SECONDS_BETWEEN", 0.0)


def settings_with(**changes: Any) -> TrainSettings:
    return QUICK.model_copy(update=changes)


def fit_first(data: Dataset, settings: TrainSettings, snapshot: Path | None, *, stop_in: int = 0) -> TrainedFold:
    """Train the first fold; raises StoppedError in epoch `stop_in`, if not 0."""

    def progress(row: Epoch) -> None:
        epochs.append(row.epoch)
        if row.epoch == stop_in:
            raise StoppedError

    epochs: list[int] = []
    fold = build_cross_validation(data.utterances, "loso-nested", data.speakers).folds[0]
    fitted = train_fold(data, fold, settings, seed=3, device=CPU, progress=progress, snapshot=snapshot)
    assert epochs == [row.epoch for row in fitted.history][len(fitted.history) - len(epochs) :]
    return fitted


def assert_same_fit(fit: TrainedFold, other: TrainedFold) -> None:
    assert fit.history == other.history
    assert fit.epoch == other.epoch
    weights = other.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in fit.model.state_dict().items())


@pytest.mark.parametrize(
    "changes",
    [{}, {"modality_dropout": 0.4, "schedule": "constant"}, {"compat": ("temperature", "sum", "own-pairs")}],
    ids=str,
)
@pytest.mark.parametrize("stop_in", [1, 2, 4])
def test_an_interrupted_fit_gives_the_same_network(
    tmp_path: Path, make_dataset: Callable[..., Dataset], changes: dict[str, Any], stop_in: int
) -> None:
    data, settings, snapshot = make_dataset(), settings_with(**changes), tmp_path / "fit.state"
    expected = fit_first(data, settings, None)
    assert len(expected.history) > 4
    with pytest.raises(StoppedError):
        fit_first(data, settings, snapshot, stop_in=stop_in)
    # The snapshot does not contain the epoch in which the fit was stopped.
    assert snapshot.exists() == (stop_in > 1)
    torch.rand(5)
    assert_same_fit(fit_first(data, settings, snapshot), expected)


def test_a_fit_can_be_interrupted_repeatedly(tmp_path: Path, make_dataset: Callable[..., Dataset]) -> None:
    data, snapshot = make_dataset(), tmp_path / "fit.state"
    for stop_in in (2, 3, 4, 4):
        with pytest.raises(StoppedError):
            fit_first(data, QUICK, snapshot, stop_in=stop_in)
    expected = fit_first(data, QUICK, None)
    assert_same_fit(fit_first(data, QUICK, snapshot), expected)
    assert_same_fit(fit_first(data, QUICK, snapshot), expected)  # a finished fit is not repeated


def test_snapshots_keep_a_minimum_interval(
    tmp_path: Path, make_dataset: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume, "MIN_SECONDS_BETWEEN", 1000.0)
    fit_first(make_dataset(), QUICK, tmp_path / "fit.state")
    assert os.listdir(tmp_path) == []


def settings_of(**changes: Any) -> Settings:
    return Settings(train=settings_with(epochs=3, **changes))


def interrupt(feats: Path, out: Path, settings: Settings, *, fold: int = 3, epoch: int = 2) -> None:
    def progress(step: Epoch | FoldScore) -> None:
        if isinstance(step, Epoch) and (step.fold, step.epoch) == (fold, epoch):
            raise StoppedError

    with pytest.raises(StoppedError):
        train(settings, feats, out, progress=progress)


def state_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and modification time of every result in a folder."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.glob("*.npz")}


def files_in(run: Path) -> dict[str, bytes]:
    paths = [run / name for name in ("metrics.json", "predictions.csv", "history.csv", "run.json")]
    return {
        str(path.relative_to(run)): path.read_bytes() for path in (*paths, *sorted(run.glob("models/*/*.safetensors")))
    }


def test_an_interrupted_run_is_resumed_in_its_fold(feats: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "both"
    interrupt(feats, out, settings_of())
    fits = out.parent / ".both.unfinished" / "fits"
    assert os.listdir(out.parent) == [".both.unfinished"]
    before = state_of(fits)
    assert len(before) == 2
    assert [path.suffix for path in fits.iterdir()].count(".state") == 1

    states: list[dict[str, tuple[int, int]]] = []
    metrics = train(settings_of(), feats, out, resume=True, progress=lambda step: states.append(state_of(fits)))
    # Finished fits were neither computed nor written again.
    assert all(state.items() >= before.items() for state in states)
    assert len(states[-1]) == 3
    assert os.listdir(out.parent) == ["both"]
    assert metrics == json.loads((out / "metrics.json").read_text())
    assert sorted(os.listdir(out)) == sorted(
        [
            "metrics.json",
            "run.json",
            "predictions.csv",
            "history.csv",
            "confusion.png",
            "learning.png",
            "models",
            "run.log",
        ]
    )
    train(settings_of(), feats, tmp_path / "uninterrupted")
    assert files_in(out) == files_in(tmp_path / "uninterrupted")


def test_an_interrupted_run_is_discarded_only_with_force(feats: Path, tmp_path: Path) -> None:
    interrupt(feats, tmp_path / "run", settings_of())
    before = state_of(tmp_path / ".run.unfinished" / "fits")
    states: list[dict[str, tuple[int, int]]] = []
    with pytest.raises(FoalError, match="an interrupted run exists; continue it with --resume, or discard it"):
        train(settings_of(), feats, tmp_path / "run")
    assert state_of(fits_of(tmp_path)) == before
    train(
        settings_of(),
        feats,
        tmp_path / "run",
        force=True,
        progress=lambda step: states.append(state_of(fits_of(tmp_path))),
    )
    assert states[0] == {}
    assert not states[-1].items() & before.items()


def fits_of(folder: Path) -> Path:
    return folder / ".run.unfinished" / "fits"


def test_a_run_killed_between_network_and_result_is_resumed(feats: Path, tmp_path: Path) -> None:
    interrupt(feats, tmp_path / "run", settings_of())
    for path in fits_of(tmp_path).glob("*.npz"):
        path.unlink()
    assert len(list((tmp_path / ".run.unfinished" / "models").iterdir())) == 2
    train(settings_of(), feats, tmp_path / "run", resume=True)
    train(settings_of(), feats, tmp_path / "uninterrupted")
    assert files_in(tmp_path / "run") == files_in(tmp_path / "uninterrupted")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 2}, "train.epochs was 3, is now 2; discard it with --force"),
        ({"avel": False}, "avel was True, is now False (and 1 more)"),
        ({"seeds": (0, 1)}, "seeds was [0], is now [0, 1]"),
    ],
    ids=str,
)
def test_an_unfinished_run_of_other_settings_is_refused(
    feats: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    interrupt(feats, tmp_path / "run", settings_of())
    other = Settings(train=settings_with(**{"epochs": 3, **changes}))
    with pytest.raises(UsageError) as caught:
        train(other, feats, tmp_path / "run", resume=True)
    assert message in str(caught.value)
    assert "the interrupted run has another configuration" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(state_of(fits_of(tmp_path))) == 2  # no result is lost
    train(settings_of(), feats, tmp_path / "run", resume=True)


def test_an_unfinished_run_of_other_features_is_refused(
    feats: Path, tmp_path: Path, make_index: Callable[..., Path], sample_utterances: list[Any]
) -> None:
    interrupt(feats, tmp_path / "run", settings_of())
    other = make_index(tmp_path / "other", sample_utterances, seed=1)
    with pytest.raises(UsageError, match="another configuration: features was '"):
        train(settings_of(), other, tmp_path / "run", resume=True)


def test_resuming_a_finished_run_returns_its_metrics(feats: Path, tmp_path: Path) -> None:
    metrics = train(settings_of(), feats, tmp_path / "run", resume=True)  # no unfinished run exists
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    epochs: list[Any] = []
    assert train(settings_of(), feats, tmp_path / "run", resume=True, progress=epochs.append) == metrics
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before
    assert epochs == []
    with pytest.raises(UsageError, match=r"the finished run has another configuration: train.width was 16, is now 8"):
        train(settings_of(width=8), feats, tmp_path / "run", resume=True)
    assert not (tmp_path / ".run.unfinished").exists()


@contextmanager
def locked_by_another_process(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@pytest.mark.parametrize("resumed", [False, True])
def test_a_run_that_another_process_writes_is_refused(feats: Path, tmp_path: Path, resumed: bool) -> None:
    interrupt(feats, tmp_path / "run", settings_of())
    before = state_of(fits_of(tmp_path))
    with (
        locked_by_another_process(tmp_path / ".run.unfinished"),
        pytest.raises(
            UsageError, match=r"run: another process is writing this run; wait for it, or choose another folder"
        ),
    ):
        train(settings_of(), feats, tmp_path / "run", resume=resumed)
    assert state_of(fits_of(tmp_path)) == before
    train(settings_of(), feats, tmp_path / "run", resume=resumed, force=not resumed)


def test_a_run_locks_its_folder(feats: Path, tmp_path: Path) -> None:
    refused = []

    def progress(step: Epoch | FoldScore) -> None:
        if isinstance(step, FoldScore):
            with pytest.raises(UsageError, match="another process is writing this run"):
                train(settings_of(), feats, tmp_path / "run")
            refused.append(step)

    train(settings_of(), feats, tmp_path / "run", progress=progress)
    assert len(refused) == 3


@pytest.mark.parametrize("content", [b"", b"torn", b"PK\x03\x04 torn"])
def test_a_damaged_snapshot_is_refused(tmp_path: Path, make_dataset: Callable[..., Dataset], content: bytes) -> None:
    (tmp_path / "fit.state").write_bytes(content)
    with pytest.raises(FoalError, match=r"fit\.state: ") as caught:
        fit_first(make_dataset(), QUICK, tmp_path / "fit.state")
    assert "\n" not in str(caught.value)
