"""Face detection, and the geometry of boxes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..encoders.inference import autocast, split_on_oom
from ..encoders.transfer import stack_on_device
from ..media.video_reader import RgbImage
from .batched.cascade import Cascade

PixelBox = NDArray[np.float32]
"""(x0, y0, x1, y1) in pixels of the image."""

MIN_FACE_PIXELS = 20
"""MTCNN cannot detect smaller faces."""


@dataclass(frozen=True, kw_only=True)
class DetectedFace:
    """A face in an image: its box in pixels, and the detector's probability."""

    box: PixelBox
    probability: float


class FaceDetector:
    """MTCNN (Zhang et al. 2016) with the weights that come with facenet-pytorch."""

    def __init__(self, *, min_face_fraction: float, min_probability: float, device: torch.device) -> None:
        """Load the detector.

        Args:
            min_face_fraction: height of the smallest face, as a fraction of the image height.
            min_probability: probability below which a detection is dropped.
            device: device to run on.
        """
        self.device = device
        self._cascade = Cascade(device)
        self._min_face_fraction = min_face_fraction
        self._min_probability = min_probability

    def detect(self, images: Sequence[RgbImage]) -> list[list[DetectedFace]]:
        """Detect all faces of each image (h, w, 3); all images have one size."""
        height, width = images[0].shape[:2]
        min_face = max(MIN_FACE_PIXELS, round(self._min_face_fraction * height))
        if min(height, width) < min_face:
            return [[] for _ in images]

        def detect(part: Sequence[RgbImage]) -> list[list[DetectedFace]]:
            # Always in float32: in half precision boxes move, and faces are lost.
            with autocast(self.device, "fp32"):
                found = self._cascade.detect(stack_on_device(part, self.device), min_face=min_face)
            return [self._select(faces) for faces in found]

        return split_on_oom(detect, images, remedy="scale the video down")

    def _select(self, faces: NDArray[np.float32]) -> list[DetectedFace]:
        """The faces (n, 5) of one image that are probable enough."""
        return [
            DetectedFace(box=face[:4], probability=float(face[4])) for face in faces if face[4] >= self._min_probability
        ]


def center(box: PixelBox) -> NDArray[np.float32]:
    """Center (x, y) of a box."""
    middle: NDArray[np.float32] = (box[:2] + box[2:]) / np.float32(2)
    return middle


def area(box: PixelBox) -> float:
    """Area of a box, in square pixels."""
    return float(np.prod(np.maximum(box[2:] - box[:2], 0)))


def overlap(first: PixelBox, second: PixelBox) -> float:
    """Intersection over union of two boxes."""
    intersection = area(np.concatenate([np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])]))
    union = area(first) + area(second) - intersection
    return intersection / union if union > 0 else 0.0
