"""Audio encoders, built by transformers and saved to a folder as anyone's would be."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
)  # fmt: skip

from foal.extract.audio import load_audio_encoder
from foal.extract.weights import find_audio_weights
from foal.shared.errors import EncoderError

CPU = torch.device("cpu")
SMALL = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2, "num_feat_extract_layers": 7,
}  # fmt: skip


def wave(seconds: float, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=round(seconds * 16000)) * 0.1).astype(np.float32)


@pytest.fixture(params=["wav2vec2-group", "wav2vec2-layer", "hubert", "wavlm"])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = {
        "wav2vec2-group": lambda: Wav2Vec2Model(Wav2Vec2Config(**SMALL, feat_extract_norm="group")),
        "wav2vec2-layer": lambda: Wav2Vec2Model(Wav2Vec2Config(**SMALL, feat_extract_norm="layer", conv_bias=True)),
        "hubert": lambda: HubertModel(HubertConfig(**SMALL)),
        "wavlm": lambda: WavLMModel(WavLMConfig(**SMALL)),
    }[request.param]()
    model.eval().save_pretrained(tmp_path / "model")
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_saved_model_gives_what_transformers_gives(saved: Path) -> None:
    weights = find_audio_weights(str(saved), "main", 0)
    assert not weights.random
    encoder = load_audio_encoder(weights, CPU)
    samples = wave(1.3)
    from transformers import AutoModel

    model = AutoModel.from_pretrained(saved).eval()
    prepared = Wav2Vec2FeatureExtractor.from_pretrained(saved)(samples, sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        wanted = model(prepared.input_values).last_hidden_state[0].numpy()
    got = encoder.encode(samples)
    assert got.shape == ((len(samples) - 400) // 320 + 1, 16)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_very_short_sound_gives_one_frame() -> None:
    encoder = load_audio_encoder(find_audio_weights("random:tiny", "main", 0), CPU)
    assert encoder.encode(wave(0.01)).shape == (1, encoder.width)
    assert encoder.encode(wave(400 / 16000)).shape == (1, encoder.width)


def test_the_seed_makes_the_tiny_encoder() -> None:
    one, same, other = (load_audio_encoder(find_audio_weights("random:tiny", "main", seed), CPU) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.encode(wave(0.5)), same.encode(wave(0.5)))
    assert np.abs(one.encode(wave(0.5)) - other.encode(wave(0.5))).max() > 0.1


def test_loading_does_not_disturb_the_random_numbers_of_others() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    load_audio_encoder(find_audio_weights("random:tiny", "main", 0), CPU)
    assert torch.equal(torch.rand(3), wanted)


def test_the_hash_is_of_the_weights_not_of_the_name(saved: Path) -> None:
    moved = saved.rename(saved.with_name("elsewhere"))
    digest = find_audio_weights(str(moved), "main", 0).digest
    assert digest == find_audio_weights(f"{moved}/", "main", 0).digest
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    assert find_audio_weights(str(moved), "main", 0).digest != digest


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "expected config.json and model.safetensors"),
        (lambda folder: (folder / "config.json").unlink(), "expected config.json"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no weights"), "cannot be loaded"),
        (lambda folder: (folder / "config.json").write_text("{"), "expected a JSON file"),
    ],
)
def test_damaged_models_are_refused(tmp_path: Path, spoil: object, words: str) -> None:
    Wav2Vec2Model(Wav2Vec2Config(**SMALL)).save_pretrained(tmp_path)
    spoil(tmp_path)  # type: ignore[operator]
    with pytest.raises(EncoderError, match=words):
        load_audio_encoder(find_audio_weights(str(tmp_path), "main", 0), CPU)


def test_models_of_another_kind_are_refused(tmp_path: Path) -> None:
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(**small)).save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="expected a model of type wav2vec2, hubert, wavlm"):
        load_audio_encoder(find_audio_weights(str(tmp_path), "main", 0), CPU)


def test_other_strides_are_refused(tmp_path: Path) -> None:
    config = Wav2Vec2Config(**{**SMALL, "conv_stride": (5, 2, 2, 2, 2, 2, 1)})
    Wav2Vec2Model(config).save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="every 320 samples"):
        load_audio_encoder(find_audio_weights(str(tmp_path), "main", 0), CPU)


def test_a_model_that_cannot_be_had_says_what_to_fetch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EncoderError, match=r"fetch config.json.* from https://huggingface.co/facebook/wav2vec2-base"):
        find_audio_weights("facebook/wav2vec2-base", "main", 0)
    with pytest.raises(EncoderError, match="neither a folder nor the name of a model"):
        find_audio_weights("../no such//model", "main", 0)
    with pytest.raises(EncoderError, match="unknown encoder 'random:huge'"):
        find_audio_weights("random:huge", "main", 0)
