"""Face detection, and the geometry of boxes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..encoders.inference import split_on_oom
from ..media.video_reader import RgbImage

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
    """MTCNN (Zhang et al. 2016) with the weights that come with facenet-pytorch.

    Only its `detect` with keep_all is used: the other methods fail on images without a face.
    """

    def __init__(self, *, min_face_fraction: float, min_probability: float, device: torch.device) -> None:
        """Load the detector.

        Args:
            min_face_fraction: height of the smallest face, as a fraction of the image height.
            min_probability: probability below which a detection is dropped.
            device: device to run on.
        """
        # Imports torchvision, which takes a second: not for streams without detection.
        from facenet_pytorch import MTCNN

        self.device = device
        self._mtcnn = MTCNN(keep_all=True, device=device)
        self._min_face_fraction = min_face_fraction
        self._min_probability = min_probability

    def detect(self, images: Sequence[RgbImage]) -> list[list[DetectedFace]]:
        """Detect all faces of each image (h, w, 3); all images have one size."""
        height, width = images[0].shape[:2]
        min_face = max(MIN_FACE_PIXELS, round(self._min_face_fraction * height))
        if min(height, width) < min_face:
            return [[] for _ in images]
        self._mtcnn.min_face_size = min_face
        return split_on_oom(self._detect, images, remedy="scale the video down")

    @torch.inference_mode()
    def _detect(self, images: Sequence[RgbImage]) -> list[list[DetectedFace]]:
        boxes, probabilities = self._mtcnn.detect(np.stack(images))
        return [self._select(*faces) for faces in zip(boxes, probabilities, strict=True)]

    def _select(self, boxes: NDArray[np.float32] | None, probabilities: Sequence[float | None]) -> list[DetectedFace]:
        """The detections of one image that are probable enough."""
        if boxes is None:
            return []
        return [
            DetectedFace(box=np.asarray(box, np.float32), probability=float(probability))
            for box, probability in zip(boxes, probabilities, strict=True)
            if probability is not None and probability >= self._min_probability
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
