"""A run of two seeds over three sessions, and its evaluation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foal.shared.utterance import Utterance
from foal.tests.train.evaluate.quick_run import SETTINGS, read
from foal.train.evaluate.run import evaluate
from foal.train.run import train


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture
def run(place: Path, some_utterances: list[Utterance], make_index: Callable[..., Path]) -> Path:
    """A run of two seeds over three sessions, and its evaluation beside it; created once, read only."""
    if not (place / "run").exists():
        train(SETTINGS, make_index(place, some_utterances), place / "run")
        evaluate(SETTINGS, place / "run", place / "feats.h5", place / "evaluation")
    return place / "run"


@pytest.fixture
def feats(run: Path) -> Path:
    return run.parent / "feats.h5"


@pytest.fixture
def evaluation(run: Path) -> dict[str, Any]:
    return read(run.parent / "evaluation")
