"""A run of two seeds over three sessions, and its evaluation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from foal.shared.utterance import Utterance
from foal.tests.figures import draw
from foal.tests.train.evaluate.quick_run import SETTINGS, read
from foal.train.evaluate.run import evaluate
from foal.train.run import train


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture
def run(workspace: Path, sample_utterances: list[Utterance], make_index: Callable[..., Path]) -> Path:
    """A run of two seeds over three sessions, with its evaluation next to it, with figures; created once, read only."""
    if not (workspace / "run").exists():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Figure, "savefig", draw)
            train(SETTINGS, make_index(workspace, sample_utterances), workspace / "run")
            evaluate(SETTINGS, workspace / "run", workspace / "feats.h5", workspace / "evaluation")
    return workspace / "run"


@pytest.fixture
def feats(run: Path) -> Path:
    return run.parent / "feats.h5"


@pytest.fixture
def evaluation(run: Path) -> dict[str, Any]:
    return read(run.parent / "evaluation")
