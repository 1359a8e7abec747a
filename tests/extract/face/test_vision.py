"""Vision encoders, built with transformers and saved to a folder."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from safetensors.torch import load_file, save_file

from foal.shared.errors import EncoderError
from foal.tests.extract.face.vision_models import CLIP_PROCESSOR, KINDS, PIXELS, Saved, build


@pytest.fixture(scope="module", params=KINDS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    return build(request.param, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    return build("vit-classifier", tmp_path_factory.mktemp("vit"))


@pytest.fixture
def copied(vit: Saved, tmp_path: Path) -> Saved:
    return replace(vit, folder=Path(copytree(vit.folder, tmp_path / "copy")))


def random_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_embeddings_equal_those_of_transformers(saved: Saved) -> None:
    encoder = saved.load()
    images = [random_image(50, 70), random_image(64, 45, seed=1)]
    processor = hf.AutoImageProcessor.from_pretrained(saved.folder)
    pixels = torch.cat([processor(Image.fromarray(image), return_tensors="pt").pixel_values for image in images])
    prepared = [encoder.prepare(image) for image in images]
    assert torch.equal(torch.stack(prepared), pixels)
    assert prepared[0].dtype == torch.float32
    assert prepared[0].shape == (3, encoder.size, encoder.size) == (3, PIXELS, PIXELS)
    actual, expected = encoder.encode(prepared), saved.reference_embedding(pixels)
    assert actual.dtype == np.float32
    assert actual.shape == (2, encoder.width)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert np.abs(actual[0] - actual[1]).max() > 0.01 * np.abs(actual).max()


def test_a_face_is_only_rescaled_and_normalized(saved: Saved) -> None:
    encoder = saved.load()
    square = random_image(PIXELS, PIXELS)
    face = torch.from_numpy(square).permute(2, 0, 1).float()
    original = face.clone()
    actual = encoder.prepare_face(face)
    assert torch.equal(face, original)
    mean, std = (
        torch.tensor(values)[:, None, None] for values in (encoder.processor.image_mean, encoder.processor.image_std)
    )
    torch.testing.assert_close(actual, (face / 255 - mean) / std, rtol=1e-5, atol=1e-5)
    if saved.uncropped:
        assert torch.equal(actual, encoder.prepare(square))
    assert encoder.prepare_face(torch.zeros(3, 44, 44)).shape == (3, 44, 44)
    difference = encoder.prepare_face(face + 0.5) - actual
    torch.testing.assert_close(difference, (0.5 / 255 / std).expand_as(face), rtol=1e-3, atol=1e-5)


def test_images_prepared_together_are_those_prepared_one_by_one(saved: Saved) -> None:
    encoder = saved.load()
    whole = [random_image(50, 70, seed) for seed in range(3)]
    together = encoder.prepare_on_device(torch.from_numpy(np.stack(whole)), faces=False)
    assert torch.equal(together, torch.stack([encoder.prepare(image) for image in whole]))
    faces = torch.rand(3, 3, PIXELS, PIXELS) * 255
    together = encoder.prepare_on_device(faces, faces=True)
    assert torch.equal(together, torch.stack([encoder.prepare_face(face) for face in faces]))


def test_embeddings_do_not_depend_on_the_batch(saved: Saved) -> None:
    encoder = saved.load()
    prepared = [encoder.prepare(random_image(40, 60, seed)) for seed in range(5)]
    single = np.concatenate([encoder.encode([pixels]) for pixels in prepared])
    np.testing.assert_allclose(encoder.encode(prepared), single, rtol=1e-5, atol=1e-5 * np.abs(single).max())


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.04), ("fp16", 0.005)])
def test_half_precision_is_close(saved: Saved, precision: str, tolerance: float) -> None:
    encoder = saved.load()
    prepared = [encoder.prepare(random_image(40, 60))]
    expected, actual = encoder.encode(prepared), saved.load(precision=precision).encode(prepared)
    assert actual.dtype == np.float32
    assert 0 < np.linalg.norm(actual - expected) < tolerance * np.linalg.norm(expected)


def test_loading_is_repeatable_and_leaves_the_random_state_unchanged(saved: Saved) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    encoder, repeated = saved.load(), saved.load()
    assert encoder.width == saved.reference_embedding(torch.zeros(1, 3, PIXELS, PIXELS)).shape[1]
    assert torch.equal(torch.rand(3), expected)
    prepared = [encoder.prepare(random_image(40, 60))]
    np.testing.assert_array_equal(encoder.encode(prepared), repeated.encode(prepared))
    assert not encoder.model.training
    assert not any(weight.requires_grad for weight in encoder.model.parameters())
    assert not any("text" in name for name, _ in encoder.model.named_parameters())


def test_loading_prints_nothing(vit: Saved) -> None:
    # In a separate process, since pytest captures the log of transformers in this one.
    script = f"""
import torch
from pathlib import Path
from foal.extract.face.vision import load_vision_encoder
from foal.extract.encoders.weights import Weights
load_vision_encoder(Weights(name="vit", revision="", digest="", path=Path({str(vit.folder)!r})), torch.device("cpu"))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_older_folder_formats_are_read(copied: Saved, tmp_path: Path) -> None:
    """A pytorch_model.bin, and the preprocessor_config.json of a feature extractor of 2021."""
    prepared = [copied.load().prepare(random_image(40, 60))]
    expected = copied.load().encode(prepared)
    torch.save(load_file(copied.folder / "model.safetensors"), copied.folder / "pytorch_model.bin")
    (copied.folder / "model.safetensors").unlink()
    half = [0.5, 0.5, 0.5]
    config = {
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "ViTFeatureExtractor",
        "image_mean": half,
        "image_std": half,
        "resample": 2,
        "size": PIXELS,
    }
    (copied.folder / "preprocessor_config.json").write_text(json.dumps(config))
    encoder = copied.load()
    assert torch.equal(encoder.prepare(random_image(40, 60)), prepared[0])
    np.testing.assert_array_equal(encoder.encode(prepared), expected)

    tower = build("clip-tower", tmp_path / "tower")
    prepared = [tower.load().prepare(random_image(40, 60))]
    expected = tower.load().encode(prepared)
    file = tower.folder / "model.safetensors"
    save_file({f"vision_model.{name}": values for name, values in load_file(file).items()}, file, {"format": "pt"})
    config = {
        "crop_size": PIXELS,
        "do_center_crop": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "resample": 3,
        "do_normalize": True,
        "do_resize": True,
        "image_mean": CLIP_PROCESSOR.image_mean,
        "image_std": CLIP_PROCESSOR.image_std,
        "size": PIXELS,
    }
    (tower.folder / "preprocessor_config.json").write_text(json.dumps(config))
    assert torch.equal(tower.load().prepare(random_image(40, 60)), prepared[0])
    np.testing.assert_array_equal(tower.load().encode(prepared), expected)


def test_images_of_any_shape_and_memory_layout_are_prepared(vit: Saved) -> None:
    encoder = vit.load()
    image = random_image(40, 60)
    expected = encoder.prepare(image)
    image.flags.writeable = False
    assert torch.equal(encoder.prepare(image), expected)
    assert torch.equal(encoder.prepare(image[:, ::-1]), encoder.prepare(image[:, ::-1].copy()))
    for height, width in ((3, 5), (1, 1), (4, 3), (300, 3)):
        assert encoder.prepare(random_image(height, width)).shape == (3, PIXELS, PIXELS)


@pytest.mark.parametrize(
    ("kind", "weight"),
    [
        ("vit-classifier", "layernorm.weight"),
        ("vit-classifier", "embeddings.cls_token"),
        ("vit-classifier", "layers.1.mlp.fc1.bias"),
        ("clip", "visual_projection.weight"),
        ("siglip", "head.probe"),
        ("beit-classifier", "pooler.layernorm.bias"),
        ("convnext-classifier", "encoder.stages.3.layers.0.layer_scale_parameter"),
        ("resnet-classifier", "embedder.embedder.normalization.running_mean"),
    ],
)
def test_missing_weights_that_the_embedding_needs_are_refused(kind: str, weight: str, tmp_path: Path) -> None:
    saved = build(kind, tmp_path)
    file = tmp_path / "model.safetensors"
    # Saved files use the weight names of transformers 4.
    ending = weight.replace("layers.1.mlp.fc1", "layer.1.intermediate.dense")
    state = {name: values for name, values in load_file(file).items() if not name.endswith(ending)}
    assert len(state) < len(load_file(file))
    save_file(state, file, {"format": "pt"})
    with pytest.raises(EncoderError, match=rf"^{tmp_path}: expected all weights .* {weight} is missing$"):
        saved.load()


def test_missing_weights_that_the_embedding_does_not_need_are_accepted(tmp_path: Path) -> None:
    saved = build("dinov2", tmp_path)
    prepared = [saved.load().prepare(random_image(40, 60))]
    expected = saved.load().encode(prepared)
    state = load_file(tmp_path / "model.safetensors")
    del state["embeddings.mask_token"]
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    np.testing.assert_array_equal(saved.load().encode(prepared), expected)
