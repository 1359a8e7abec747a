"""InceptionResnetV1 (FaceNet), a small random network for the demo, and the builder of every `FaceExtractor`."""

from collections.abc import Sequence
from pickle import UnpicklingError

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...shared.config.settings import FaceSettings
from ...shared.errors import EncoderError
from ..encoders.inference import autocast
from ..encoders.transfer import HostCopy, to_device
from ..encoders.weights import FACENET_SIZE, Weights
from ..media.video_reader import RgbImage
from .batching import FaceExtractor, ImageEncoder
from .clips import load_clip_encoder, reads_clips
from .config import face_crop, is_vision_model
from .detector import FaceDetector
from .vision import load_vision_encoder

DEFAULT_BATCH = {"cpu": 16, "cuda": 128}
"""Images encoded together: two to three times faster than one by one on a CPU."""

FACENET_WIDTH = 512


class FaceEncoder:
    """An `ImageEncoder` trained on faces of `size` x `size` pixels."""

    size = FACENET_SIZE

    def __init__(self, *, model: nn.Module, width: int, device: torch.device, precision: str = "fp32") -> None:
        # channels_last is a third faster on a CPU.
        self._model = model.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
        self.width = width
        self.device = device
        self._precision = precision

    def prepare(self, image: RgbImage) -> torch.Tensor:
        """Stretch a whole image (h, w, 3) to the square (3, size, size) that the network was trained on."""
        whole = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        sides = (self.size, self.size)
        return nn.functional.interpolate(whole, sides, mode="bilinear", antialias=True, align_corners=False)[0]

    def prepare_face(self, face: torch.Tensor) -> torch.Tensor:
        """Return the face (3, size, size) unchanged."""
        return face

    def prepare_on_device(self, pixels: torch.Tensor, *, faces: bool) -> torch.Tensor:
        """The square images (n, 3, size, size) of whole images (n, h, w, 3), stretched, or of faces, unchanged."""
        if faces:
            return pixels
        whole, sides = pixels.permute(0, 3, 1, 2).float(), (self.size, self.size)
        return nn.functional.interpolate(whole, sides, mode="bilinear", antialias=True, align_corners=False)

    @torch.inference_mode()
    def start(self, batch: torch.Tensor) -> HostCopy:
        """Start to encode images (n, 3, size, size) on the device, with values 0 to 255."""
        # facenet-pytorch's fixed_image_standardization, with which its weights were trained.
        batch = (batch - 127.5) / 128.0
        with autocast(self.device, self._precision):
            embeddings: torch.Tensor = self._model(batch.contiguous(memory_format=torch.channels_last))
        return HostCopy(embeddings.float())

    def encode(self, prepared: Sequence[torch.Tensor]) -> NDArray[np.float32]:
        """Embeddings (n, d_v) of n images (3, size, size) with values 0 to 255."""
        return self.start(to_device(torch.stack(list(prepared)), self.device)).numpy()


def build_face_extractor(
    settings: FaceSettings, weights: Weights, device: torch.device, *, precision: str = "fp32", batch: int = 0
) -> FaceExtractor:
    """Build detector and encoder of a face stream.

    Args:
        settings: settings of the stream.
        weights: InceptionResnetV1 as a file or random, or the folder of a vision model.
        device: device of both networks.
        precision: fp32, tf32, bf16 or fp16, of the encoder; embeddings are always float32.
        batch: number of images encoded together; 0 for DEFAULT_BATCH.

    Raises:
        EncoderError: the weights are damaged, or of another network.
    """
    encoder = _load_encoder(weights, device, precision)
    if is_vision_model(weights) and settings.size not in (None, encoder.size):
        raise EncoderError(
            f"{weights.name} takes images of {encoder.size} pixels: expected extract.face.size to be that or none, "
            f"got {settings.size}"
        )
    detector = None
    if settings.region == "face":
        detector = FaceDetector(
            min_face_fraction=settings.min_face_fraction, min_probability=settings.min_probability, device=device
        )
    return FaceExtractor(
        detector=detector,
        encoder=encoder,
        settings=settings,
        crop=face_crop(settings, weights),
        batch=batch or DEFAULT_BATCH[device.type],
        on_device=device.type != "cpu" and not reads_clips(weights),
    )


def _load_encoder(weights: Weights, device: torch.device, precision: str) -> ImageEncoder:
    if reads_clips(weights):
        return load_clip_encoder(weights, device, precision=precision)
    if is_vision_model(weights):
        return load_vision_encoder(weights, device, precision=precision)
    if weights.path is None and weights.name == "random:tiny":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(weights.seed)
            tiny = GridEncoder()
        return FaceEncoder(model=tiny, width=tiny.width, device=device, precision=precision)
    # Imports torchvision, which takes a second.
    from facenet_pytorch import InceptionResnetV1

    if weights.path is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(weights.seed)
            model = InceptionResnetV1(pretrained=None)
    else:
        model = InceptionResnetV1(pretrained=None)
        try:
            state = torch.load(weights.path, map_location="cpu", weights_only=True)
            state = {name: value for name, value in state.items() if not name.startswith("logits.")}
            model.load_state_dict(state, strict=True)
        except Exception as error:
            # A truncated download, a pickle of something else and another network each fail differently.
            # PyTorch's message about a pickle advises to load it without weights_only, which would execute it.
            pickled = isinstance(error, UnpicklingError)
            reason = (
                "it contains more than weights" if pickled else str(error).partition("\n")[0] or type(error).__name__
            )
            raise EncoderError(
                f"{weights.path}: expected the weights of InceptionResnetV1, got another file ({reason})"
            ) from None
    return FaceEncoder(model=model, width=FACENET_WIDTH, device=device, precision=precision)


class GridEncoder(nn.Module):
    """Random filters, averaged over a coarse grid of the face, so that local features such as a smile are kept."""

    width = 192

    def __init__(self, *, filters: int = 12, grid: int = 8) -> None:
        super().__init__()
        self.filters = nn.Conv2d(1, filters, kernel_size=9, stride=2, padding=4, bias=False)
        self.pool = nn.AdaptiveAvgPool2d(grid)
        self.mix = nn.Linear(filters * grid * grid, self.width, bias=False)

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """(n, 3, size, size) to (n, width)."""
        grey = faces.mean(1, keepdim=True)
        grey = (grey - grey.mean((2, 3), keepdim=True)) / (grey.std((2, 3), keepdim=True) + 1e-3)
        cells = self.pool(torch.relu(self.filters(grey)))
        mixed: torch.Tensor = self.mix(cells.flatten(1))
        return mixed
