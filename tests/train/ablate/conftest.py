"""Fits without a Dask worker."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from foal.shared.config.settings import Settings
from foal.shared.config.train_settings import TrainSettings
from foal.train.data.dataset import open_dataset
from foal.train.data.protocol import build_cross_validation
from foal.train.fit.task import FitTask, run_task

CPU = torch.device("cpu")


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[FitTask]:
    """Do what is left without a worker, which takes seconds to come; gives what was asked for."""
    asked: list[FitTask] = []

    def fits(settings: Settings, features: Path, modalities: Sequence[str], tasks: Sequence[FitTask]) -> Iterator[int]:
        asked.extend(tasks)
        with open_dataset(features, TrainSettings(), classes=None, modalities=modalities) as data:
            for number, task in enumerate(tasks):
                run_task(
                    task, data, build_cross_validation(data.utterances, task.settings.protocol, data.speakers), CPU
                )
                yield number

    monkeypatch.setattr("foal.train.ablate.run.run_in_parallel", fits)
    return asked
