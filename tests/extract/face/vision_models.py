"""Small vision encoders, built with transformers and saved to a folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf

from foal.extract.encoders.weights import Weights
from foal.extract.face.vision import VisionEncoder, load_vision_encoder

CPU = torch.device("cpu")
PIXELS = 32
VIT: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": PIXELS,
    "patch_size": 8,
}
TEXT: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 40,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
STAGES: dict[str, Any] = {"hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 1, 1]}
SQUARE, SHORTEST = {"height": PIXELS, "width": PIXELS}, {"shortest_edge": PIXELS}


@dataclass(frozen=True)
class Saved:
    folder: Path
    model: Any
    embed: Callable[[Any, torch.Tensor], torch.Tensor]
    uncropped: bool

    def load(self, **options: Any) -> VisionEncoder:
        return load_vision_encoder(local_weights(self.folder), CPU, **options)

    def reference_embedding(self, pixels: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            return self.embed(self.model, pixels).numpy()


def clip() -> Any:
    # CLIPModel projects to 20; the projection_dim of the vision configuration stays at 512.
    return hf.CLIPModel(hf.CLIPConfig(text_config=TEXT, vision_config=VIT, projection_dim=20))


def clip_classifier() -> Any:
    # Every configuration accepts num_labels, which the signature of CLIPConfig omits.
    config = hf.CLIPConfig(text_config=TEXT, vision_config=VIT, num_labels=3)  # type: ignore[call-arg]
    return hf.CLIPForImageClassification(config)


def siglip() -> Any:
    return hf.SiglipModel(hf.SiglipConfig(text_config=TEXT, vision_config=VIT))


def swin() -> Any:
    config = hf.SwinConfig(image_size=PIXELS, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4)
    return hf.SwinForImageClassification(config)


CLIP_PROCESSOR = hf.CLIPImageProcessor(size=SHORTEST, crop_size=SQUARE)
VIT_PROCESSOR = hf.ViTImageProcessor(size=SQUARE)
CENTER_CROP_PROCESSOR = hf.BitImageProcessor(size={"shortest_edge": 40}, crop_size=SQUARE)
CROP_PCT_PROCESSOR = hf.ConvNextImageProcessor(size=SHORTEST)
UNCROPPED_PROCESSOR = hf.ConvNextImageProcessor(size=SHORTEST, crop_pct=1.0)

# Factory, image processor, and the embedding computed by transformers.
KINDS: dict[str, tuple[Callable[[], Any], Any, Callable[[Any, torch.Tensor], Any]]] = {
    "clip": (clip, CLIP_PROCESSOR, lambda model, x: model.get_image_features(x).pooler_output),
    "clip-tower": (
        lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**VIT)),
        CLIP_PROCESSOR,
        lambda model, x: model(x).pooler_output,
    ),
    "clip-projected-tower": (
        lambda: hf.CLIPVisionModelWithProjection(hf.CLIPVisionConfig(**VIT, projection_dim=20)),
        CLIP_PROCESSOR,
        lambda model, x: model(x).image_embeds,
    ),
    "clip-classifier": (clip_classifier, CLIP_PROCESSOR, lambda model, x: model.vision_model(x).pooler_output),
    "siglip": (
        siglip,
        hf.SiglipImageProcessor(size=SQUARE),
        lambda model, x: model.get_image_features(x).pooler_output,
    ),
    "siglip-tower": (
        lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig(**VIT)),
        hf.SiglipImageProcessor(size=SQUARE),
        lambda model, x: model(x).pooler_output,
    ),
    "dinov2": (
        lambda: hf.Dinov2Model(hf.Dinov2Config(**VIT)),
        CENTER_CROP_PROCESSOR,
        lambda model, x: model(x).last_hidden_state[:, 0],
    ),
    "vit": (
        lambda: hf.ViTModel(hf.ViTConfig(**VIT)),
        VIT_PROCESSOR,
        lambda model, x: model(x).last_hidden_state[:, 0],
    ),
    "vit-classifier": (
        lambda: hf.ViTForImageClassification(hf.ViTConfig(**VIT)),
        VIT_PROCESSOR,
        lambda model, x: model.vit(x).last_hidden_state[:, 0],
    ),
    "beit-classifier": (
        lambda: hf.BeitForImageClassification(hf.BeitConfig(**VIT)),
        hf.BeitImageProcessor(size=SQUARE, do_center_crop=False),
        lambda model, x: model.beit(x).pooler_output,
    ),
    "convnext-classifier": (
        lambda: hf.ConvNextForImageClassification(hf.ConvNextConfig(**STAGES)),
        UNCROPPED_PROCESSOR,
        lambda model, x: model.convnext(x).pooler_output,
    ),
    "resnet-classifier": (
        lambda: hf.ResNetForImageClassification(hf.ResNetConfig(**STAGES, embedding_size=8)),
        CROP_PCT_PROCESSOR,
        lambda model, x: model.resnet(x).pooler_output[:, :, 0, 0],
    ),
    "swin-classifier": (swin, VIT_PROCESSOR, lambda model, x: model.swin(x).pooler_output),
}


def build(kind: str, folder: Path) -> Saved:
    factory, processor, embed = KINDS[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = factory().eval()
        # With the default initialization, the embeddings of all images are nearly equal. No parameter stays at 0 or 1.
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.data.normal_(0, 1.4 * weight[0].numel() ** -0.5)
            else:
                weight.data.normal_(0.5, 0.3)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return Saved(folder, model, embed, uncropped=processor not in (CENTER_CROP_PROCESSOR, CROP_PCT_PROCESSOR))


def local_weights(folder: Path) -> Weights:
    return Weights(name=str(folder), revision="local", digest="", path=folder)
