"""Fits of a study without a Dask worker."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from foal.shared.config.settings import Settings
from foal.shared.errors import DivergedError
from foal.train.data.fold_features import FoldDatasets
from foal.train.data.protocol import build_cross_validation
from foal.train.fit.task import FitTask, run_task

CPU = torch.device("cpu")


@pytest.fixture
def requested_tasks(monkeypatch: pytest.MonkeyPatch) -> list[FitTask]:
    """Compute missing fits in this process, since starting a worker takes seconds; returns the requested tasks."""
    requested: list[FitTask] = []

    def run_here(
        settings: Settings,
        features: Path,
        tasks: Sequence[FitTask],
        may_start: Callable[[int], bool] | None = None,
        on_diverged: Callable[[int, DivergedError], None] | None = None,
    ) -> Iterator[int]:
        if may_start is None:
            requested.extend(tasks)
        with FoldDatasets(features, settings.train, classes=None, device=CPU) as datasets:
            for number, task in enumerate(tasks):
                if may_start is not None:
                    if not may_start(number):
                        continue
                    requested.append(task)
                data = datasets.open(task.settings)
                folds = build_cross_validation(data.utterances, task.settings.protocol, data.speakers)
                try:
                    run_task(task, data, folds, CPU)
                except DivergedError as error:
                    if on_diverged is None:
                        raise
                    on_diverged(number, error)
                yield number

    monkeypatch.setattr("foal.train.fit.parallel.run_in_parallel", run_here)
    return requested
