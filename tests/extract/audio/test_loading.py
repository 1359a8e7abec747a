"""Loading audio encoders: seeded random weights, and refusal of damaged folders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2Model,
)

from foal.extract.audio.encoder import AudioEncoder
from foal.extract.audio.loading import load_audio_encoder
from foal.extract.encoders.weights import find_audio_weights
from foal.shared.errors import EncoderError
from foal.tests.extract.audio.waveforms import encode_one, wave

CPU = torch.device("cpu")
Save = Callable[..., Path]
Load = Callable[..., AudioEncoder]


def test_the_seed_determines_the_tiny_encoder() -> None:
    first, repeated, other = (
        load_audio_encoder(find_audio_weights("random:tiny", "main", seed), CPU) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(encode_one(first, wave(0.5)), encode_one(repeated, wave(0.5)))
    assert np.abs(encode_one(first, wave(0.5)) - encode_one(other, wave(0.5))).max() > 0.1


def test_loading_leaves_the_global_random_state_unchanged() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_audio_encoder(find_audio_weights("random:tiny", "main", 0), CPU)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "expected config.json and model.safetensors"),
        (lambda folder: (folder / "config.json").unlink(), "expected config.json"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no weights"), "cannot be loaded"),
        (lambda folder: (folder / "config.json").write_text("{"), "expected a JSON file"),
    ],
)
def test_damaged_models_are_refused(tmp_path: Path, damage: object, message: str, small: dict[str, Any]) -> None:
    Wav2Vec2Model(Wav2Vec2Config(**small)).save_pretrained(tmp_path)
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(EncoderError, match=message):
        load_audio_encoder(find_audio_weights(str(tmp_path), "main", 0), CPU)


def test_weights_of_another_model_are_refused(tmp_path: Path, save: Save, load: Load, small: dict[str, Any]) -> None:
    """transformers only logs that it initializes missing weights at random."""
    other = save(tmp_path / "other", lambda: Wav2Vec2Model(Wav2Vec2Config(**{**small, "num_hidden_layers": 1})))
    folder = save(tmp_path / "model", "wav2vec2-group")
    (other / "model.safetensors").replace(folder / "model.safetensors")
    with pytest.raises(EncoderError, match="weights of a wav2vec2 model are missing"):
        load(folder)
    wider = save(tmp_path / "wider", lambda: Wav2Vec2Model(Wav2Vec2Config(**{**small, "hidden_size": 32})))
    (wider / "model.safetensors").replace(folder / "model.safetensors")
    with pytest.raises(EncoderError, match="cannot be loaded"):
        load(folder)
