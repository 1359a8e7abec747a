"""Runs with fits computed by the Dask workers of a running scheduler."""

import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from distributed import Client

from foal.shared.config.settings import ClusterSettings, Settings
from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import TrainingError
from foal.shared.utterance import Utterance
from foal.tests.shared.parallel.dask_processes import DaskProcesses
from foal.tests.train.fold_index import TEMPLATE, write_fold_index
from foal.train.data.dataset import open_dataset
from foal.train.data.protocol import build_cross_validation
from foal.train.fit.baselines import Baseline
from foal.train.fit.history import Epoch
from foal.train.fit.parallel import run_in_parallel
from foal.train.fit.task import FitTask, FoldScore
from foal.train.run import train

QUICK = TrainSettings(width=16, heads=2, layers=1, epochs=2, batch_size=8, bootstrap=50, seeds=(0, 1))


# Sent by value: the scheduler cannot import the tests.
IMPORTED = lambda: sorted({"torch", "h5py"} & __import__("sys").modules.keys())  # noqa: E731


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterSettings]:
    """Two workers with two threads each, and a scheduler in a process of its own."""
    processes = DaskProcesses(tmp_path_factory.mktemp("dask"))
    try:
        address = processes.scheduler()
        processes.worker("--nworkers", "2", "--nthreads", "2", "--nanny")
        yield ClusterSettings(scheduler=address)
    finally:
        processes.stop()


@pytest.mark.slow
def test_workers_resume_a_run_and_give_the_same_files(feats: Path, tmp_path: Path, workers: ClusterSettings) -> None:
    def stop(step: Epoch | FoldScore) -> None:
        if isinstance(step, FoldScore):
            raise KeyboardInterrupt

    settings = Settings(train=QUICK, cluster=workers)
    with pytest.raises(KeyboardInterrupt):
        train(settings, feats, tmp_path / "parallel", progress=stop)
    (finished_fit,) = (tmp_path / ".parallel.unfinished" / "fits").iterdir()
    before = finished_fit.stat()
    steps: list[Epoch | FoldScore] = []

    def check_fit_is_unchanged(step: Epoch | FoldScore) -> None:
        steps.append(step)
        after = finished_fit.stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    metrics = train(settings, feats, tmp_path / "parallel", parallel=True, resume=True, progress=check_fit_is_unchanged)
    assert len(steps) == 6
    assert all(isinstance(step, FoldScore) for step in steps)
    assert metrics == train(settings, feats, tmp_path / "serial")
    for name in ("metrics.json", "predictions.csv", "history.csv", "run.json", "models/seed1-fold2/model.safetensors"):
        assert (tmp_path / "parallel" / name).read_bytes() == (tmp_path / "serial" / name).read_bytes()
    with Client(workers.scheduler) as client:
        assert client.run_on_scheduler(IMPORTED) == []


@pytest.mark.slow
def test_workers_read_the_stream_of_each_fold(
    tmp_path: Path,
    sample_utterances: list[Utterance],
    make_features: Callable[..., Path],
    workers: ClusterSettings,
) -> None:
    feats = write_fold_index(tmp_path, sample_utterances, make_features, widths=(8, 7, 5))
    settings = Settings(train=QUICK.model_copy(update={"fold_features": (TEMPLATE,)}), cluster=workers)
    train(settings, feats, tmp_path / "parallel", parallel=True)
    train(settings, feats, tmp_path / "serial")
    for name in ("metrics.json", "predictions.csv", "history.csv", "run.json", "models/seed1-fold2/model.safetensors"):
        assert (tmp_path / "parallel" / name).read_bytes() == (tmp_path / "serial" / name).read_bytes()


@pytest.mark.slow
def test_workers_raise_the_same_error_as_a_single_process(
    feats: Path, tmp_path: Path, workers: ClusterSettings
) -> None:
    """Three heads do not divide a width of sixteen; the error is raised during the fit."""
    settings = Settings(train=QUICK.model_copy(update={"heads": 3}), cluster=workers)
    for parallel in (False, True):
        with pytest.raises(TrainingError) as caught:
            train(settings, feats, tmp_path / "run", parallel=parallel)
        assert type(caught.value) is TrainingError
        assert str(caught.value) == "expected a width that 3 heads divide, got 16; change train.width or train.heads"
        assert sorted(os.listdir(tmp_path)) == ["feats.h5", "features"]
    # The workers are still usable.
    usable = Settings(train=QUICK.model_copy(update={"seeds": (0,)}), cluster=workers)
    train(usable, feats, tmp_path / "run", parallel=True)


@pytest.mark.slow
def test_workers_leave_out_the_fits_that_may_not_start(feats: Path, tmp_path: Path, workers: ClusterSettings) -> None:
    settings = Settings(train=QUICK.model_copy(update={"epochs": 1}), cluster=workers)
    tasks = [
        FitTask(settings=settings.train, seed=seed, fold=fold, folder=tmp_path, baseline=Baseline())
        for seed in range(3)
        for fold in (1, 2, 3)
    ]
    asked: list[int] = []

    def may_start(position: int) -> bool:
        asked.append(position)
        return position not in (0, 4) and position < 7

    finished = list(run_in_parallel(settings, feats, tasks, may_start))
    assert sorted(finished) == [1, 2, 3, 5, 6]
    assert asked == list(range(len(tasks)))
    with open_dataset(feats, settings.train, classes=None) as data:
        folds = build_cross_validation(data.utterances, None, data.speakers)
        exists = [task.path(data, folds).exists() for task in tasks]
    assert exists == [position in finished for position in range(len(tasks))]
    # They are asked late: while each worker has a fit and the next one waits, no other is asked.
    asked.clear()
    steps = run_in_parallel(settings, feats, [replace(task, seed=task.seed + 10) for task in tasks], may_start)
    assert isinstance(steps, Generator)
    next(steps)
    assert len(asked) < len(tasks)
    steps.close()
