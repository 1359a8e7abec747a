"""Small models of the wav2vec2 family, built with transformers and saved to a folder."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    Data2VecAudioConfig,
    Data2VecAudioModel,
    HubertConfig,
    HubertModel,
    PreTrainedModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
)

from foal.extract.audio.encoder import AudioEncoder
from foal.extract.audio.loading import load_audio_encoder
from foal.extract.encoders.weights import find_audio_weights
from foal.shared.config.settings import AudioSettings
from foal.tests.extract.encoders.small_wav2vec2 import SMALL

CONFIG: dict[str, Any] = {**SMALL, "num_feat_extract_layers": 7}
LAYER_NORM: dict[str, Any] = {"feat_extract_norm": "layer", "conv_bias": True}
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "wav2vec2-group": lambda: Wav2Vec2Model(Wav2Vec2Config(**CONFIG, feat_extract_norm="group")),
    "wav2vec2-layer": lambda: Wav2Vec2Model(Wav2Vec2Config(**CONFIG, **LAYER_NORM)),
    "wav2vec2-stable": lambda: Wav2Vec2Model(Wav2Vec2Config(**CONFIG, **LAYER_NORM, do_stable_layer_norm=True)),
    "hubert": lambda: HubertModel(HubertConfig(**CONFIG)),
    "wavlm": lambda: WavLMModel(WavLMConfig(**CONFIG)),
    "data2vec": lambda: Data2VecAudioModel(Data2VecAudioConfig(**CONFIG, conv_pos_kernel_size=9)),
}


def save_model(folder: Path, model: str | Callable[[], PreTrainedModel]) -> Path:
    torch.manual_seed(0)
    (MODELS[model] if isinstance(model, str) else model)().eval().save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


@lru_cache(maxsize=64)
def load_encoder(
    folder: Path | str, *, batch_seconds: float = 0.0, precision: str = "fp32", **settings: Any
) -> AudioEncoder:
    weights = find_audio_weights(str(folder), "main", 0)
    device = torch.device("cpu")
    return load_audio_encoder(
        weights, device, AudioSettings(**settings), precision=precision, batch_seconds=batch_seconds
    )


@pytest.fixture(scope="session")
def small() -> dict[str, Any]:
    """Configuration of a small model."""
    return CONFIG


@pytest.fixture(scope="session")
def save() -> Callable[..., Path]:
    """save(folder, model): save a model, given by name or factory, with a feature extractor to a folder."""
    return save_model


@pytest.fixture(scope="session")
def load() -> Callable[..., AudioEncoder]:
    """load(folder, **settings): the encoder of a saved model."""
    return load_encoder


@pytest.fixture(params=MODELS)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A saved model of each kind."""
    return save_model(tmp_path / "model", request.param)


@pytest.fixture(scope="module", params=MODELS)
def saved_per_module(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model of each kind, shared by the tests of a module."""
    return save_model(tmp_path_factory.mktemp("saved") / "model", request.param)
