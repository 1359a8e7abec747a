"""Interrupted fits are resumed with the same result; see also test_run_resume.py."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import FoalError
from foal.train.data.dataset import Dataset
from foal.train.data.protocol import build_cross_validation
from foal.train.fit import snapshot as resume
from foal.train.fit.history import Epoch
from foal.train.fit.loop import TrainedFold, train_fold

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
def test_an_interrupted_fit_gives_the_same_network(
    tmp_path: Path, make_dataset: Callable[..., Dataset], changes: dict[str, Any]
) -> None:
    data, settings = make_dataset(), settings_with(**changes)
    expected = fit_first(data, settings, None)
    assert len(expected.history) > 4
    for stop_in in (1, 2, 4):
        snapshot = tmp_path / f"{stop_in}.state"
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


@pytest.mark.parametrize("content", [b"", b"torn", b"PK\x03\x04 torn"])
def test_a_damaged_snapshot_is_refused(tmp_path: Path, make_dataset: Callable[..., Dataset], content: bytes) -> None:
    (tmp_path / "fit.state").write_bytes(content)
    with pytest.raises(FoalError, match=r"fit\.state: ") as caught:
        fit_first(make_dataset(), QUICK, tmp_path / "fit.state")
    assert "\n" not in str(caught.value)
