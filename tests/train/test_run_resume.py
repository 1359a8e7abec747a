"""Interrupted runs are resumed with the same results."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from foal.shared.config.settings import Settings
from foal.shared.errors import FoalError, UsageError
from foal.shared.utterance import Utterance
from foal.tests.train.quick_run import settings
from foal.train.fit import snapshot
from foal.train.fit.history import Epoch
from foal.train.fit.task import FoldScore
from foal.train.run import train

UNFINISHED = ".run.unfinished"


class StoppedError(Exception):
    """Raised by a test to interrupt a run."""


@pytest.fixture(autouse=True)
def write_snapshot_after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MIN_SECONDS_BETWEEN", 0.0)


def settings_of(**changes: Any) -> Settings:
    return settings(**{"epochs": 3, **changes})


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("snapshot")


@pytest.fixture
def feats(workspace: Path, sample_utterances: list[Utterance], make_index: Callable[..., Path]) -> Path:
    """18 utterances of two classes in three sessions; created once, read only."""
    if not (workspace / "feats.h5").exists():
        make_index(workspace, sample_utterances)
    return workspace / "feats.h5"


@pytest.fixture
def interrupted(workspace: Path, feats: Path, tmp_path: Path) -> Path:
    """The folder of a run that was interrupted in the second epoch of its third fold; trained once, then copied."""

    def progress(step: Epoch | FoldScore) -> None:
        if isinstance(step, Epoch) and (step.fold, step.epoch) == (3, 2):
            raise StoppedError

    if not (workspace / UNFINISHED).exists():
        with pytest.raises(StoppedError):
            train(settings_of(), feats, workspace / "run", progress=progress)
    shutil.copytree(workspace / UNFINISHED, tmp_path / UNFINISHED)
    return tmp_path / "run"


@pytest.fixture
def uninterrupted(workspace: Path, feats: Path) -> dict[str, bytes]:
    """The files of the same run without an interruption."""
    if not (workspace / "uninterrupted").exists():
        train(settings_of(), feats, workspace / "uninterrupted")
    return files_in(workspace / "uninterrupted")


def fits_of(run: Path) -> Path:
    return run.parent / UNFINISHED / "fits"


def state_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and modification time of every result in a folder."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.glob("*.npz")}


def files_in(run: Path) -> dict[str, bytes]:
    paths = [run / name for name in ("metrics.json", "predictions.csv", "history.csv", "run.json")]
    return {
        str(path.relative_to(run)): path.read_bytes() for path in (*paths, *sorted(run.glob("models/*/*.safetensors")))
    }


def test_an_interrupted_run_is_resumed_in_its_fold(
    feats: Path, interrupted: Path, uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    fits = fits_of(interrupted)
    assert os.listdir(tmp_path) == [UNFINISHED]
    before = state_of(fits)
    assert len(before) == 2
    assert [path.suffix for path in fits.iterdir()].count(".state") == 1

    states: list[dict[str, tuple[int, int]]] = []
    metrics = train(settings_of(), feats, interrupted, resume=True, progress=lambda step: states.append(state_of(fits)))
    # Finished fits were neither computed nor written again.
    assert all(state.items() >= before.items() for state in states)
    assert len(states[-1]) == 3
    assert os.listdir(tmp_path) == ["run"]
    assert metrics == json.loads((interrupted / "metrics.json").read_text())
    assert sorted(os.listdir(interrupted)) == sorted(
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
    assert files_in(interrupted) == uninterrupted


def test_an_interrupted_run_is_discarded_only_with_force(feats: Path, interrupted: Path) -> None:
    before = state_of(fits_of(interrupted))
    states: list[dict[str, tuple[int, int]]] = []
    with pytest.raises(FoalError, match="an interrupted run exists; continue it with --resume, or discard it"):
        train(settings_of(), feats, interrupted)
    assert state_of(fits_of(interrupted)) == before
    train(
        settings_of(),
        feats,
        interrupted,
        force=True,
        progress=lambda step: states.append(state_of(fits_of(interrupted))),
    )
    assert states[0] == {}
    assert not states[-1].items() & before.items()


def test_a_run_killed_between_network_and_result_is_resumed(
    feats: Path, interrupted: Path, uninterrupted: dict[str, bytes]
) -> None:
    for path in fits_of(interrupted).glob("*.npz"):
        path.unlink()
    assert len(list((interrupted.parent / UNFINISHED / "models").iterdir())) == 2
    train(settings_of(), feats, interrupted, resume=True)
    assert files_in(interrupted) == uninterrupted


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 2}, "train.epochs was 3, is now 2; discard it with --force"),
        ({"avel": False}, "avel was true, is now false (and 1 more)"),
        ({"seeds": (0, 1)}, "seeds was 0, is now 0, 1"),
    ],
    ids=str,
)
def test_an_unfinished_run_of_other_settings_is_refused(
    feats: Path, interrupted: Path, changes: dict[str, Any], message: str
) -> None:
    before = contents(interrupted.parent / UNFINISHED)
    with pytest.raises(UsageError) as caught:
        train(settings_of(**changes), feats, interrupted, resume=True)
    assert message in str(caught.value)
    assert "the interrupted run has another configuration" in str(caught.value)
    assert "\n" not in str(caught.value)
    # It can still be resumed.
    assert contents(interrupted.parent / UNFINISHED) == before


def contents(folder: Path) -> dict[str, bytes]:
    """The files that a resumed run reads: all but the log."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "run.log"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_an_unfinished_run_of_other_features_is_refused(
    interrupted: Path, tmp_path: Path, make_index: Callable[..., Path], sample_utterances: list[Utterance]
) -> None:
    other = make_index(tmp_path / "other", sample_utterances, seed=1)
    with pytest.raises(UsageError, match=r"another configuration: features was [0-9a-f]{32}, is now"):
        train(settings_of(), other, interrupted, resume=True)


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


def test_a_run_that_another_process_writes_is_refused(feats: Path, interrupted: Path) -> None:
    before = contents(interrupted.parent / UNFINISHED)
    for resumed in (False, True):
        with (
            locked_by_another_process(interrupted.parent / UNFINISHED),
            pytest.raises(
                UsageError, match=r"run: another process is writing this run; wait for it, or choose another folder"
            ),
        ):
            train(settings_of(), feats, interrupted, resume=resumed)
        assert contents(interrupted.parent / UNFINISHED) == before
    train(settings_of(), feats, interrupted, resume=True)


def test_a_run_locks_its_folder(feats: Path, tmp_path: Path) -> None:
    refused = []

    def progress(step: Epoch | FoldScore) -> None:
        if isinstance(step, FoldScore):
            with pytest.raises(UsageError, match="another process is writing this run"):
                train(settings_of(), feats, tmp_path / "run")
            refused.append(step)

    train(settings_of(), feats, tmp_path / "run", progress=progress)
    assert len(refused) == 3
