"""Finished runs on a small index; read only."""

from collections.abc import Callable
from pathlib import Path

import pytest

from foal.shared.utterance import Utterance
from foal.tests.train.quick_run import settings
from foal.train.run import train


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compared")


@pytest.fixture
def two_runs(workspace: Path, sample_utterances: list[Utterance], make_index: Callable[..., Path]) -> Path:
    """The folder of the runs `runs/both` and `runs/audio`, of two seeds and one; read only."""
    if not (workspace / "runs" / "audio").exists():
        feats = make_index(workspace, sample_utterances)
        train(settings(seeds=(0, 1)), feats, workspace / "runs" / "both")
        train(settings(streams=("audio",)), feats, workspace / "runs" / "audio")
    return workspace
