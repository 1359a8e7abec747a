"""Fixtures of predictions: a trained run, whose encoders are small and random."""

from pathlib import Path

import pytest

from foal.tests.predict.small_model import train_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on audio and whole pictures; read only."""
    return train_run(tmp_path_factory.mktemp("model"))
