"""Vision encoders: any frozen Hugging Face model that makes one embedding of a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import (
    MODEL_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    SiglipVisionModel,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES, MODEL_MAPPING_NAMES

from ...shared.errors import EncoderError
from ..encoders.inference import autocast, quiet
from ..encoders.weights import Weights, read_json

_UNLISTED = ("clip_vision_model", "siglip_vision_model", "dinov3_vit", "dinov3_convnext")
KINDS = MODEL_MAPPING_NAMES.keys() & {*MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES, *_UNLISTED}
"""Model types that classify pictures, or could; the few that make no single embedding fail the trial on shapes."""


class VisionEncoder:
    """A frozen model and its own image processor: pictures in, one embedding each out."""

    def __init__(
        self, *, model: nn.Module, processor: Any, size: int, width: int, device: torch.device, precision: str
    ) -> None:
        # In this layout ResNet-50 takes two thirds of the time on a CPU; ViT and ConvNeXt take the same.
        self.model = model.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
        self.processor, self.size, self.width = processor, size, width
        self.device, self.precision = device, precision

    def prepare(self, picture: NDArray[np.uint8]) -> torch.Tensor:
        """A whole RGB picture (h, w, 3) as the model wants it: (3, size, size), float32, on the CPU."""
        return _process(self.processor, picture)

    def prepare_face(self, face: torch.Tensor) -> torch.Tensor:
        """A face that is cut already, (3, size, size) with values 0 to 255: only rescaled and normalised."""
        as_is = {"do_resize": False, "do_center_crop": False, "input_data_format": "channels_first"}
        return _pixels(self.processor(face, **as_is, return_tensors="pt"))

    @torch.inference_mode()
    def encode(self, prepared: Sequence[torch.Tensor]) -> NDArray[np.float32]:
        """Embeddings (n, width) of n prepared pictures (3, size, size)."""
        batch = torch.stack(list(prepared)).to(self.device)
        with autocast(self.device, self.precision):
            embeddings = _embed(self.model, batch.contiguous(memory_format=torch.channels_last))
        return embeddings.float().cpu().numpy()


def load_vision_encoder(weights: Weights, device: torch.device, *, precision: str = "fp32") -> VisionEncoder:
    """Build the encoder from its folder; `precision` is fp32, bf16 or fp16 (autocast; embeddings are float32 always).

    Raises EncoderError for a folder that is damaged, lacks weights that the embedding needs, or holds no vision model.
    """
    folder, architecture, config = _find(weights)
    processor, size = _load_processor(folder)
    width = _width(weights.name, architecture, config, size)
    try:
        # Weights that are not in the checkpoint are drawn at random: not from the random numbers of others.
        with quiet(), torch.random.fork_rng(devices=[]):
            model, report = architecture.from_pretrained(
                folder,
                config=config,
                local_files_only=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except Exception as error:
        # safetensors, pickle and transformers each have their own; the user needs the one line.
        raise EncoderError(f"{weights.name}: the weights cannot be loaded ({_first_line(error)})") from None
    encoder = VisionEncoder(
        model=model, processor=processor, size=size, width=width, device=device, precision=precision
    )
    _check_complete(folder, encoder, report)
    return encoder


def vision_width(weights: Weights) -> int:
    """Numbers per picture, from config.json alone. Raises EncoderError where it is of no vision model."""
    _, architecture, config = _find(weights)
    side = getattr(config, "image_size", 224)
    return _width(weights.name, architecture, config, side if isinstance(side, int) else max(side))


def _find(weights: Weights) -> tuple[Path, Any, Any]:
    """The folder, the class of the model in it, and its configuration."""
    if weights.path is None:
        raise EncoderError(f"{weights.name}: expected a folder with a vision model, got random weights")
    kind = read_json(weights.path / "config.json").get("model_type")
    if kind not in KINDS:
        known = "clip, siglip, dinov2, vit, beit, convnext, swin, resnet"
        raise EncoderError(f"{weights.name}: expected a vision model ({known} or the like), got {kind!r}")
    try:
        with quiet():
            config = AutoConfig.from_pretrained(weights.path, local_files_only=True, trust_remote_code=False)
        return weights.path, *_choose(config)
    except Exception as error:
        raise EncoderError(f"{weights.path / 'config.json'}: cannot be read as {kind} ({_first_line(error)})") from None


def _choose(config: Any) -> tuple[Any, Any]:
    """The class that makes the embedding, and the configuration it takes: of CLIP and SigLIP the vision tower alone."""
    classes, kind = config.architectures or (), config.model_type
    if kind == "siglip":
        return SiglipVisionModel, config.vision_config
    if kind == "clip":
        # The tower's own configuration may name another width; CLIPModel projects to that of the whole.
        config.vision_config.projection_dim = config.projection_dim
        config, projects = config.vision_config, "CLIPForImageClassification" not in classes
    elif kind == "clip_vision_model":
        projects = "CLIPVisionModelWithProjection" in classes
    else:
        return MODEL_MAPPING[type(config)], config
    return (CLIPVisionModelWithProjection if projects else CLIPVisionModel), config


def _load_processor(folder: Path) -> tuple[Any, int]:
    """The model's image processor, and the side of the square pictures that it makes."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        raise EncoderError(f"{folder}: expected preprocessor_config.json (how the model wants its pictures), got none")
    read_json(path)
    loader: Any = AutoImageProcessor
    try:
        with quiet():
            processor = loader.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            # Tried on an oblong picture: the keys that say what comes out differ from processor to processor.
            shape = tuple(_process(processor, np.zeros((480, 640, 3), np.uint8)).shape)
    except Exception as error:
        raise EncoderError(f"{path}: the image processor cannot be used ({_first_line(error)})") from None
    if len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2]:
        raise EncoderError(f"{path}: expected square pictures (3, size, size) of all, got {shape} of 480 x 640 pixels")
    return processor, shape[1]


def _width(name: str, architecture: Any, config: Any, size: int) -> int:
    """Numbers per picture: a trial on shapes alone, without weights."""
    try:
        with torch.device("meta"), torch.inference_mode():
            return _embed(architecture(config).eval(), torch.zeros(1, 3, size, size)).shape[1]
    except Exception as error:
        what = f"a picture of {size} x {size} pixels"
        raise EncoderError(f"{name}: the model makes no embedding of {what} ({_first_line(error)})") from None


def _embed(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """(n, 3, size, size) to (n, width): projected, else pooled, else the CLS token's hidden state.

    A pooler with a matrix (ViT, DeiT) is passed by: it was seldom trained, and is missing where a classifier was.
    """
    output = model(pixel_values=pixels)
    pooled: torch.Tensor | None = output.get("image_embeds")
    if pooled is None and not _has_matrix(getattr(model, "pooler", None)):
        pooled = output.get("pooler_output")
    if pooled is None:
        hidden: torch.Tensor = output.last_hidden_state
        if hidden.ndim != 3 or not any(name.endswith("cls_token") for name, _ in model.named_parameters()):
            raise EncoderError("it has neither a pooled output nor a CLS token")
        pooled = hidden[:, 0]
    return pooled.flatten(1)


def _has_matrix(pooler: Any) -> bool:
    modules = pooler.modules() if isinstance(pooler, nn.Module) else ()
    return any([*module.parameters(recurse=False)] and not isinstance(module, nn.LayerNorm) for module in modules)


def _check_complete(folder: Path, encoder: VisionEncoder, report: dict[str, Any]) -> None:
    """Refuse what the checkpoint lacks and the embedding needs: filled with NaN, such a weight shows in the output."""
    state = encoder.model.state_dict()
    face = torch.zeros(3, encoder.size, encoder.size)
    for name in sorted({*report["missing_keys"], *(found[0] for found in report["mismatched_keys"])}):
        if state[name].is_floating_point():
            state[name].fill_(torch.nan)
            if np.isnan(encoder.encode([encoder.prepare_face(face)])).any():
                wrong = "of another shape" if name not in report["missing_keys"] else "missing"
                raise EncoderError(f"{folder}: expected all weights of the model, got a file where {name} is {wrong}")


def _process(processor: Any, picture: NDArray[np.uint8]) -> torch.Tensor:
    # Torch warns of arrays that it may not write to, as some decoders give them.
    picture = np.require(picture, np.uint8, ["C", "W"])
    return _pixels(processor(picture, input_data_format="channels_last", return_tensors="pt"))


def _pixels(batch: Any) -> torch.Tensor:
    pixels: torch.Tensor = batch["pixel_values"][0]
    return pixels.float()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
