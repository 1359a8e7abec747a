"""How a face is cut for an encoder: the defaults of shape and margin, without importing torch."""

from dataclasses import dataclass
from typing import Literal

from ...shared.config.settings import FaceSettings
from ..encoders.weights import Weights

CropShape = Literal["stretched", "square"]

DEFAULT_MARGIN: dict[CropShape, float] = {"stretched": 0.0, "square": 0.2}
"""Fractions of the face. 0 is the default of facenet-pytorch's MTCNN."""


@dataclass(frozen=True, kw_only=True)
class FaceCrop:
    """How a detected face becomes a square image; see `cut_face`."""

    shape: CropShape
    margin: float


def face_crop(settings: FaceSettings, weights: Weights) -> FaceCrop:
    """Shape and margin of a stream's faces.

    Args:
        settings: settings of the stream; those of shape and margin may be None.
        weights: of its encoder.
    """
    shape: CropShape = settings.crop_shape or ("stretched" if is_inception_resnet(weights) else "square")
    return FaceCrop(shape=shape, margin=DEFAULT_MARGIN[shape] if settings.margin is None else settings.margin)


def is_vision_model(weights: Weights) -> bool:
    """Whether the weights are those of a vision model in a folder."""
    return weights.path is not None and weights.path.is_dir()


def is_inception_resnet(weights: Weights) -> bool:
    """Whether the weights are those of facenet-pytorch's InceptionResnetV1."""
    return weights.name == "random:facenet" if weights.path is None else not is_vision_model(weights)
