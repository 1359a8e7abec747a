"""Fixtures for the tests of the store."""

from collections.abc import Callable
from pathlib import Path

import pytest

from foal.shared.store.index_writer import write_index
from foal.shared.utterance import Utterance

CONFIG_HASHES = {"audio": "0" * 64, "face": "0" * 64}


@pytest.fixture
def store_path(tmp_path: Path, make_features: Callable[..., Path], sample_utterances: list[Utterance]) -> Path:
    """An index next to its features folder, which contains one shard per session and modality."""
    make_features(tmp_path / "features", sample_utterances)
    write_index(tmp_path / "feats.h5", sample_utterances, tmp_path / "features", CONFIG_HASHES)
    return tmp_path / "feats.h5"
