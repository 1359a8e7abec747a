"""Lookup of encoder weights: folders, the Hugging Face hub, and PyTorch's cache."""

import json
from pathlib import Path

import pytest
from transformers import Wav2Vec2Config, Wav2Vec2Model

from foal.extract.encoders.weights import find_audio_weights, find_face_weights
from foal.shared.errors import EncoderError


def test_the_digest_depends_on_the_content_not_on_the_path(tmp_path: Path) -> None:
    config = Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=(8,) * 7
    )
    Wav2Vec2Model(config).save_pretrained(tmp_path / "model")
    weights = find_audio_weights(str(tmp_path / "model"), "main", 0)
    assert not weights.random
    moved = (tmp_path / "model").rename(tmp_path / "elsewhere")
    assert find_audio_weights(str(moved), "main", 0).digest == weights.digest
    assert find_audio_weights(f"{moved}/", "main", 0).digest == weights.digest
    content = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps({**content, "hidden_act": "relu"}))
    assert find_audio_weights(str(moved), "main", 0).digest != weights.digest


def test_random_weights_are_identified_by_name_and_seed() -> None:
    names = ("random:tiny", "random:facenet")
    digests = {find_face_weights(name, "main", seed).digest for name in names for seed in (1, 2)}
    assert len(digests) == 4
    assert find_audio_weights("random:tiny", "main", 1).random


def test_a_hub_model_that_cannot_be_downloaded_names_the_files_to_fetch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EncoderError, match=r"fetch config.json.* from https://huggingface.co/facebook/wav2vec2-base"):
        find_audio_weights("facebook/wav2vec2-base", "main", 0)
    with pytest.raises(EncoderError, match="neither a folder nor the name of a model"):
        find_audio_weights("../no such//model", "main", 0)
    with pytest.raises(EncoderError, match="unknown encoder 'random:huge'"):
        find_audio_weights("random:huge", "main", 0)


def test_face_weights_that_cannot_be_downloaded_name_the_file_to_fetch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("foal.extract.encoders.weights._FACENET_URL", "http://127.0.0.1:9")
    with pytest.raises(EncoderError, match=r"fetch .*vggface2.pt and put it at .*checkpoints"):
        find_face_weights("vggface2", "main", 0)
    (tmp_path / "checkpoints" / "20180402-114759-vggface2.pt").write_bytes(b"x")
    with pytest.raises(EncoderError, match=r"expected the weights released as vggface2 .* delete it"):
        find_face_weights("vggface2", "main", 0)
    casia = tmp_path / "checkpoints" / "20180408-102900-casia-webface.pt"
    casia.write_bytes(b"x")
    assert find_face_weights("casia-webface", "main", 0).path == casia
    with pytest.raises(EncoderError, match="unknown face encoder 'nobody'"):
        find_face_weights("nobody", "main", 0)
