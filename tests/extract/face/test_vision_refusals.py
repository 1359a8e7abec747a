"""Folders without an intact vision encoder are refused with one sentence, and no code in them is executed."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
import transformers as hf

from foal.extract.encoders.weights import Weights
from foal.extract.face.vision import VisionEncoder, load_vision_encoder
from foal.shared.errors import EncoderError

VIT: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
VIT_PROCESSOR = hf.ViTImageProcessor(size={"height": 32, "width": 32})
PREPROCESSOR = "preprocessor_config.json"


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vit")
    hf.ViTForImageClassification(hf.ViTConfig(**VIT)).save_pretrained(folder)
    VIT_PROCESSOR.save_pretrained(folder)
    assert load(folder).width == VIT["hidden_size"]
    return folder


@pytest.fixture
def copied(intact: Path, tmp_path: Path) -> Path:
    return Path(copytree(intact, tmp_path / "copy"))


def load(folder: Path) -> VisionEncoder:
    weights = Weights(name=str(folder), revision="local", digest="", path=folder)
    return load_vision_encoder(weights, torch.device("cpu"))


def update_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_weights_of_another_shape_are_refused(copied: Path) -> None:
    update_json(copied / "config.json", intermediate_size=40)
    with pytest.raises(EncoderError, match=rf"^{copied}: .* is of another shape$"):
        load(copied)


class MaliciousPickle:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["FOAL_TEST_EVIL"],)


def test_a_pickle_is_never_executed(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOAL_TEST_EVIL", str(tmp_path / "evil"))
    (copied / "model.safetensors").unlink()
    (copied / "pytorch_model.bin").write_bytes(pickle.dumps({"vit": MaliciousPickle()}))
    with pytest.raises(EncoderError, match="the weights cannot be loaded"):
        load(copied)
    torch.save({"vit": MaliciousPickle()}, copied / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="the weights cannot be loaded"):
        load(copied)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / PREPROCESSOR).unlink(), "expected preprocessor_config.json"),
        (lambda folder: (folder / PREPROCESSOR).write_text("{"), "expected a JSON file"),
        (
            lambda folder: update_json(folder / PREPROCESSOR, image_processor_type="Nobodys"),
            "image processor cannot be used",
        ),
        (
            lambda folder: update_json(folder / PREPROCESSOR, size={"height": 32, "width": 40}),
            r"square .* \(3, 32, 40\)",
        ),
        (lambda folder: update_json(folder / PREPROCESSOR, do_resize=False), r"square outputs .* \(3, 480, 640\)"),
        (
            lambda folder: update_json(folder / PREPROCESSOR, size={"height": 48, "width": 48}),
            "no embedding for .* 48 x 48",
        ),
        (lambda folder: (folder / "config.json").unlink(), "expected a JSON file"),
        (lambda folder: (folder / "config.json").write_text("[]"), "expected a JSON object"),
        (lambda folder: update_json(folder / "config.json", hidden_size="wide"), "cannot be read as vit"),
        (
            lambda folder: update_json(folder / "config.json", model_type="bert"),
            r"expected a vision model \(.*, got 'bert'",
        ),
        (
            lambda folder: update_json(folder / "config.json", model_type="wav2vec2"),
            "expected a vision model .* 'wav2vec2'",
        ),
        (lambda folder: update_json(folder / "config.json", model_type=None), "expected a vision model .*, got None"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot be loaded"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no weights"), "cannot be loaded"),
        (lambda folder: os.truncate(folder / "model.safetensors", 5000), "cannot be loaded"),
    ],
)
def test_damaged_folders_are_refused_with_one_sentence(
    copied: Path, damage: Callable[[Path], Any], message: str
) -> None:
    damage(copied)
    with pytest.raises(EncoderError, match=message) as caught:
        load(copied)
    assert "\n" not in str(caught.value)
    assert str(copied) in str(caught.value)


def test_models_without_a_single_embedding_are_refused(tmp_path: Path) -> None:
    hf.IJepaModel(hf.IJepaConfig(**VIT)).save_pretrained(tmp_path)
    VIT_PROCESSOR.save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="neither a pooled output nor a CLS token"):
        load(tmp_path)
    with pytest.raises(EncoderError, match="expected a folder"):
        load_vision_encoder(Weights(name="random:tiny", revision="", digest="", path=None), torch.device("cpu"))
