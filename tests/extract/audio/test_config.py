"""The configuration of audio encoders: family, frame rate and layers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
)

from foal.extract.audio.encoder import AudioEncoder
from foal.extract.audio.loading import load_audio_encoder
from foal.extract.encoders.weights import find_audio_weights
from foal.shared.errors import EncoderError

CPU = torch.device("cpu")
Save = Callable[..., Path]
Load = Callable[..., AudioEncoder]


@pytest.mark.parametrize("layers", [(3,), (-4,), (0, 12), (0, 0), (2, -1), ()])
def test_layers_missing_from_the_model_are_refused(
    tmp_path: Path, layers: tuple[int, ...], save: Save, load: Load
) -> None:
    with pytest.raises(EncoderError, match=r"extract.audio.layers"):
        load(save(tmp_path, "hubert"), layers=layers)


def test_models_of_another_family_are_refused(tmp_path: Path) -> None:
    small: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(**small)).save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="expected a model of type wav2vec2, hubert, wavlm"):
        load_audio_encoder(find_audio_weights(str(tmp_path), "main", 0), CPU)


def test_models_of_another_frame_rate_are_refused(tmp_path: Path, small: dict[str, Any]) -> None:
    config = Wav2Vec2Config(**{**small, "conv_stride": (5, 2, 2, 2, 2, 2, 1)})
    Wav2Vec2Model(config).save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="every 320 samples"):
        load_audio_encoder(find_audio_weights(str(tmp_path), "main", 0), CPU)
