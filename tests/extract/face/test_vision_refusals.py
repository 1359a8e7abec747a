"""Folders that hold no vision encoder, or a damaged one, are refused in one sentence, and nothing in them is run."""

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
VIT_PICTURES = hf.ViTImageProcessor(size={"height": 32, "width": 32})
PICTURES = "preprocessor_config.json"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vit")
    hf.ViTForImageClassification(hf.ViTConfig(**VIT)).save_pretrained(folder)
    VIT_PICTURES.save_pretrained(folder)
    assert load(folder).width == VIT["hidden_size"]
    return folder


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    return Path(copytree(whole, tmp_path / "copy"))


def load(folder: Path) -> VisionEncoder:
    weights = Weights(name=str(folder), revision="local", digest="", path=folder)
    return load_vision_encoder(weights, torch.device("cpu"))


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_weights_of_another_shape_are_refused(copied: Path) -> None:
    change(copied / "config.json", intermediate_size=40)
    with pytest.raises(EncoderError, match=rf"^{copied}: .* is of another shape$"):
        load(copied)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["FOAL_TEST_EVIL"],)


def test_a_pickle_is_never_executed(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOAL_TEST_EVIL", str(tmp_path / "evil"))
    (copied / "model.safetensors").unlink()
    (copied / "pytorch_model.bin").write_bytes(pickle.dumps({"vit": Evil()}))
    with pytest.raises(EncoderError, match="the weights cannot be loaded"):
        load(copied)
    torch.save({"vit": Evil()}, copied / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="the weights cannot be loaded"):
        load(copied)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / PICTURES).unlink(), "expected preprocessor_config.json"),
        (lambda folder: (folder / PICTURES).write_text("{"), "expected a JSON file"),
        (lambda folder: change(folder / PICTURES, image_processor_type="Nobodys"), "image processor cannot be used"),
        (lambda folder: change(folder / PICTURES, size={"height": 32, "width": 40}), r"square .* \(3, 32, 40\)"),
        (lambda folder: change(folder / PICTURES, do_resize=False), r"square outputs .* \(3, 480, 640\)"),
        (lambda folder: change(folder / PICTURES, size={"height": 48, "width": 48}), "no embedding for .* 48 x 48"),
        (lambda folder: (folder / "config.json").unlink(), "expected a JSON file"),
        (lambda folder: (folder / "config.json").write_text("[]"), "expected a JSON object"),
        (lambda folder: change(folder / "config.json", hidden_size="wide"), "cannot be read as vit"),
        (lambda folder: change(folder / "config.json", model_type="bert"), r"expected a vision model \(.*, got 'bert'"),
        (lambda folder: change(folder / "config.json", model_type="wav2vec2"), "expected a vision model .* 'wav2vec2'"),
        (lambda folder: change(folder / "config.json", model_type=None), "expected a vision model .*, got None"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot be loaded"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no weights"), "cannot be loaded"),
        (lambda folder: os.truncate(folder / "model.safetensors", 5000), "cannot be loaded"),
    ],
)
def test_damaged_folders_are_refused_in_one_sentence(copied: Path, spoil: Callable[[Path], Any], words: str) -> None:
    spoil(copied)
    with pytest.raises(EncoderError, match=words) as caught:
        load(copied)
    assert "\n" not in str(caught.value)
    assert str(copied) in str(caught.value)


def test_models_that_return_no_single_embedding_are_refused(tmp_path: Path) -> None:
    hf.IJepaModel(hf.IJepaConfig(**VIT)).save_pretrained(tmp_path)
    VIT_PICTURES.save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="neither a pooled output nor a CLS token"):
        load(tmp_path)
    with pytest.raises(EncoderError, match="expected a folder"):
        load_vision_encoder(Weights(name="random:tiny", revision="", digest="", path=None), torch.device("cpu"))
