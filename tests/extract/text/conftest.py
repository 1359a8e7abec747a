"""A saved text model of each family, and the encoder of a saved model."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch

from foal.extract.encoders.weights import find_text_weights
from foal.extract.text.encoder import TextEncoder
from foal.extract.text.loading import load_text_encoder
from foal.shared.config.settings import TextSettings
from foal.tests.extract.text.small_text_models import MODELS, save_text_model


@lru_cache(maxsize=128)
def load_encoder(folder: Path | str, *, batch_tokens: int = 1, precision: str = "fp32", **settings: Any) -> TextEncoder:
    weights = find_text_weights(str(folder), "main", 0)
    return load_text_encoder(
        weights, torch.device("cpu"), TextSettings(**settings), precision=precision, batch_tokens=batch_tokens
    )


@pytest.fixture(scope="session")
def load_text() -> Callable[..., TextEncoder]:
    """load_text(folder, **settings): the encoder of a saved model, one utterance at a time unless told otherwise."""
    return load_encoder


@pytest.fixture(scope="session", params=MODELS)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model of each family."""
    return save_text_model(tmp_path_factory.mktemp("text") / request.param, request.param)


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved BERT."""
    return save_text_model(tmp_path_factory.mktemp("text") / "bert", "bert")
