"""Face encoders: InceptionResnetV1 (FaceNet), or a small seeded one for the demo; and the way of a picture through."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from facenet_pytorch import InceptionResnetV1
from numpy.typing import NDArray
from torch import nn

from ..shared.errors import EncoderError
from ..shared.settings import FaceSettings
from .detect import FaceDetector, Follower, cut_face
from .picture import Picture
from .weights import Weights

BATCH = 16
"""Faces encoded together: two to three times faster than one by one on a CPU."""


class FaceEncoder:
    """A frozen network: face pictures in, one embedding each out."""

    def __init__(self, *, model: nn.Module, width: int, device: torch.device) -> None:
        self.model = model.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
        self.width = width
        self.device = device

    @torch.inference_mode()
    def encode(self, faces: Sequence[torch.Tensor]) -> NDArray[np.float32]:
        """Embeddings (n, d_v) of n pictures (3, size, size) with values 0 to 255."""
        # facenet-pytorch's fixed_image_standardization: what its weights were trained on.
        batch = (torch.stack(list(faces)).to(self.device) - 127.5) / 128.0
        embeddings: torch.Tensor = self.model(batch.contiguous(memory_format=torch.channels_last))
        return embeddings.float().cpu().numpy()


@dataclass(frozen=True, kw_only=True)
class FacePath:
    """Pictures of one utterance to embeddings: detect, follow, cut, encode."""

    detector: FaceDetector
    encoder: FaceEncoder
    settings: FaceSettings

    def embed(self, pictures: Sequence[Picture], follower: Follower) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Embeddings (n, d_v) and whether there was a face (n,); zeros where there was none.

        The follower carries the face over from the utterance's pictures before these.
        """
        faces = [follower.choose(found) for found in self.detector.detect(pictures)]
        valid = np.array([face is not None for face in faces], bool)
        values = np.zeros((len(pictures), self.encoder.width), np.float32)
        if valid.any():
            cut = [
                cut_face(picture, face.box, size=self.settings.size, margin=self.settings.margin)
                for picture, face in zip(pictures, faces, strict=True)
                if face is not None
            ]
            values[valid] = self.encoder.encode(cut)
        return values, valid


def load_face_path(settings: FaceSettings, weights: Weights, device: torch.device) -> FacePath:
    """Build detector and encoder. Raises EncoderError for weights that are damaged or of another network."""
    return FacePath(
        detector=FaceDetector(min_face=settings.min_face, min_probability=settings.min_probability, device=device),
        encoder=_load_encoder(weights, settings.size, device),
        settings=settings,
    )


def _load_encoder(weights: Weights, size: int, device: torch.device) -> FaceEncoder:
    if weights.path is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(weights.seed)
            if weights.name == "random:tiny":
                tiny = GridEncoder()
                return FaceEncoder(model=tiny, width=tiny.width, device=device)
            return FaceEncoder(model=InceptionResnetV1(pretrained=None), width=512, device=device)
    model = InceptionResnetV1(pretrained=None)
    try:
        state = torch.load(weights.path, map_location="cpu", weights_only=True)
        state = {name: value for name, value in state.items() if not name.startswith("logits.")}
        model.load_state_dict(state, strict=True)
    except Exception as error:
        # A cut-off download, a pickle of something else and another network each fail in their own way.
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EncoderError(
            f"{weights.path}: expected the weights of InceptionResnetV1, got another file ({first})"
        ) from None
    return FaceEncoder(model=model, width=512, device=device)


class GridEncoder(nn.Module):
    """Random filters, averaged over a coarse grid of the face: a smile stays where it is and does not average away."""

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
