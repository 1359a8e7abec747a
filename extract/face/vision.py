"""Vision encoders: any frozen Hugging Face model that returns one embedding per image."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...shared.errors import EncoderError
from ..encoders.inference import autocast, quiet_transformers
from ..encoders.pretrained import first_line, load_pretrained
from ..encoders.transfer import HostCopy, to_device
from ..encoders.weights import Weights, read_json
from ..media.video_reader import RgbImage

_UNLISTED = ("clip_vision_model", "siglip_vision_model", "dinov3_vit", "dinov3_convnext")
"""Vision models that transformers does not list for image classification."""


class VisionEncoder:
    """An `ImageEncoder`: a frozen model with its own image processor."""

    def __init__(
        self, *, model: nn.Module, processor: Any, size: int, width: int, device: torch.device, precision: str
    ) -> None:
        # channels_last: ResNet-50 takes two thirds of the time on a CPU; ViT and ConvNeXt take the same.
        self.model = model.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
        self.processor = processor
        self.size = size
        self.width = width
        self.device = device
        self.precision = precision

    def prepare(self, image: RgbImage) -> torch.Tensor:
        """Convert a whole image (h, w, 3) to the model's input (3, size, size), float32, on the CPU."""
        return process_image(self.processor, image)

    def prepare_face(self, face: torch.Tensor) -> torch.Tensor:
        """Rescale and normalize a face (3, size, size), 0 to 255, without resizing or cropping it."""
        as_is = {"do_resize": False, "do_center_crop": False, "input_data_format": "channels_first"}
        return _pixels(self.processor(face, **as_is, return_tensors="pt"))

    def prepare_on_device(self, pixels: torch.Tensor, *, faces: bool) -> torch.Tensor:
        """The model's input (n, 3, h, w) of whole images (n, h, w, 3), uint8, or of faces (n, 3, h, w), 0 to 255."""
        if getattr(self.processor, "backend", None) != "torchvision":
            # A processor on Pillow and NumPy.
            pixels = pixels.cpu()
        layout = {"do_resize": False, "do_center_crop": False, "input_data_format": "channels_first"}
        if not faces:
            layout = {"input_data_format": "channels_last"}
        batch: torch.Tensor = self.processor(list(pixels), **layout, return_tensors="pt")["pixel_values"]
        return batch.float().to(self.device)

    @torch.inference_mode()
    def start(self, batch: torch.Tensor) -> HostCopy:
        """Start to encode prepared images (n, 3, size, size) on the device."""
        with autocast(self.device, self.precision):
            embeddings = _embed(self.model, batch.contiguous(memory_format=torch.channels_last))
        return HostCopy(embeddings.float())

    def encode(self, prepared: Sequence[torch.Tensor]) -> NDArray[np.float32]:
        """Embeddings (n, d_v) of n prepared images (3, size, size)."""
        return self.start(to_device(torch.stack(list(prepared)), self.device)).numpy()


def load_vision_encoder(weights: Weights, device: torch.device, *, precision: str = "fp32") -> VisionEncoder:
    """Build the encoder from its folder.

    Args:
        weights: a folder with a vision model.
        device: device of the model.
        precision: fp32, tf32, bf16 or fp16, see `autocast`; embeddings are always float32.

    Raises:
        EncoderError: the folder is damaged, lacks weights that the embedding needs, or holds no vision model.
    """
    folder, architecture, config = _read_config(weights)
    processor, size = load_processor(folder)
    width = _embedding_width(weights.name, architecture, config, size)
    model, report = load_pretrained(architecture, folder, weights.name, config=config, ignore_mismatched_sizes=True)
    encoder = VisionEncoder(
        model=model, processor=processor, size=size, width=width, device=device, precision=precision
    )
    _check_complete(folder, encoder, report)
    return encoder


def _read_config(weights: Weights) -> tuple[Path, Any, Any]:
    """Folder, class and configuration of the model."""
    if weights.path is None:
        raise EncoderError(f"{weights.name}: expected a folder with a vision model, got random weights")
    from transformers import AutoConfig

    model_type = read_json(weights.path / "config.json").get("model_type")
    if model_type not in _model_types():
        known = "clip, siglip, dinov2, vit, beit, convnext, swin, resnet"
        raise EncoderError(f"{weights.name}: expected a vision model ({known} or the like), got {model_type!r}")
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(weights.path, local_files_only=True, trust_remote_code=False)
        return weights.path, *_select_class(config)
    except Exception as error:
        raise EncoderError(
            f"{weights.path / 'config.json'}: cannot be read as {model_type} ({first_line(error)})"
        ) from None


def _model_types() -> set[str]:
    """Model types for image classification. The few that return no single embedding fail in `_embedding_width`."""
    from transformers.models.auto import modeling_auto

    classifiers = {*modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES, *_UNLISTED}
    return modeling_auto.MODEL_MAPPING_NAMES.keys() & classifiers


def _select_class(config: Any) -> tuple[Any, Any]:
    """The model class that returns the embedding, and its configuration: of CLIP and SigLIP the vision tower alone."""
    from transformers import MODEL_MAPPING, CLIPVisionModel, CLIPVisionModelWithProjection, SiglipVisionModel

    classes = config.architectures or ()
    model_type = config.model_type
    if model_type == "siglip":
        return SiglipVisionModel, config.vision_config
    if model_type == "clip":
        # The tower's own configuration may have another width; CLIPModel projects to that of the whole model.
        config.vision_config.projection_dim = config.projection_dim
        config, projects = config.vision_config, "CLIPForImageClassification" not in classes
    elif model_type == "clip_vision_model":
        projects = "CLIPVisionModelWithProjection" in classes
    else:
        return MODEL_MAPPING[type(config)], config
    return (CLIPVisionModelWithProjection if projects else CLIPVisionModel), config


def load_processor(folder: Path, process: Callable[[Any, RgbImage], torch.Tensor] | None = None) -> tuple[Any, int]:
    """The model's image processor, and the side of its square output in pixels; `process` converts an image with it."""
    from transformers import AutoImageProcessor

    path = folder / "preprocessor_config.json"
    if not path.is_file():
        raise EncoderError(f"{folder}: expected preprocessor_config.json (the image processor of the model), got none")
    read_json(path)
    loader: Any = AutoImageProcessor
    try:
        with quiet_transformers():
            processor = loader.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            # Tried on a rectangular image: the keys for the output size differ between processors.
            shape = tuple((process or process_image)(processor, np.zeros((480, 640, 3), np.uint8)).shape)
    except Exception as error:
        raise EncoderError(f"{path}: the image processor cannot be used ({first_line(error)})") from None
    if len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2]:
        raise EncoderError(
            f"{path}: expected square outputs (3, size, size), got {shape} for an image of 480 x 640 pixels"
        )
    return processor, shape[1]


def _embedding_width(name: str, architecture: Any, config: Any, size: int) -> int:
    """Numbers per embedding, by a forward pass on shapes alone, without weights."""
    try:
        with torch.device("meta"), torch.inference_mode():
            return _embed(architecture(config).eval(), torch.zeros(1, 3, size, size)).shape[1]
    except Exception as error:
        raise EncoderError(
            f"{name}: the model returns no embedding for an image of {size} x {size} pixels ({first_line(error)})"
        ) from None


def _embed(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """(n, 3, size, size) -> (n, d_v): the projected output, else the pooled one, else the CLS token's hidden state.

    A pooler with a weight matrix (ViT, DeiT) is not used: it was rarely trained, and classifiers lack it.
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
    """Raise EncoderError for a missing weight that affects the embedding: filled with NaN, it shows in the output."""
    state = encoder.model.state_dict()
    face = torch.zeros(3, encoder.size, encoder.size)
    for name in sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}):
        if state[name].is_floating_point():
            state[name].fill_(torch.nan)
            if np.isnan(encoder.encode([encoder.prepare_face(face)])).any():
                defect = "of another shape" if name not in report["missing_keys"] else "missing"
                raise EncoderError(f"{folder}: expected all weights of the model, got a file where {name} is {defect}")


def process_image(processor: Any, image: RgbImage) -> torch.Tensor:
    """The model's input of a whole image (h, w, 3), float32."""
    # Torch warns about read-only arrays, which some decoders return.
    image = np.require(image, np.uint8, ["C", "W"])
    return _pixels(processor(image, input_data_format="channels_last", return_tensors="pt"))


def _pixels(batch: Any) -> torch.Tensor:
    pixels: torch.Tensor = batch["pixel_values"][0]
    return pixels.float()
