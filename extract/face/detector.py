"""Finds the faces in pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray
from torch import nn

from ..encoders.inference import halved
from ..media.video import Picture

Box = NDArray[np.float32]
"""x0, y0, x1, y1 in pixels."""

SMALLEST_PIXELS = 20
"""MTCNN cannot see a face smaller than this."""


@dataclass(frozen=True, kw_only=True)
class Face:
    """A face in a picture: x0, y0, x1, y1 in its pixels, and the detector's probability."""

    box: Box
    probability: float


class FaceDetector:
    """MTCNN (Zhang et al. 2016) with the weights that come with facenet-pytorch.

    Only `detect` with keep_all is used: the other calls fail on pictures without a face.
    """

    def __init__(self, *, min_face_fraction: float, min_probability: float, device: torch.device) -> None:
        self.device = device
        self._mtcnn = MTCNN(keep_all=True, device=device)
        self._min_face, self._min_probability = min_face_fraction, min_probability

    def detect(self, pictures: Sequence[Picture]) -> list[list[Face]]:
        """All faces of each picture (h, w, 3), RGB, all pictures of one size."""
        height, width = pictures[0].shape[:2]
        smallest = max(SMALLEST_PIXELS, round(self._min_face * height))
        if min(height, width) < smallest:
            return [[] for _ in pictures]
        self._mtcnn.min_face_size = smallest
        return halved(self._detect, pictures, remedy="the pictures are too large for the face detector")

    @torch.inference_mode()
    def _detect(self, pictures: Sequence[Picture]) -> list[list[Face]]:
        found, probabilities = self._mtcnn.detect(np.stack(pictures))
        return [self._faces(boxes, chances) for boxes, chances in zip(found, probabilities, strict=True)]

    def _faces(self, boxes: NDArray[np.float32] | None, chances: Sequence[float | None]) -> list[Face]:
        if boxes is None:
            return []
        return [
            Face(box=np.asarray(box, np.float32), probability=float(chance))
            for box, chance in zip(boxes, chances, strict=True)
            if chance is not None and chance >= self._min_probability
        ]


def cut_face(picture: Picture, box: Box, *, size: int, margin: float) -> torch.Tensor:
    """The face as a square (3, size, size), float, 0 to 255; beyond the picture's edge its outermost pixels repeat.

    Square, so that no face is stretched; with `margin` times its longer side around it.
    """
    side = max(1, round(float(max(box[2] - box[0], box[3] - box[1])) * (1 + margin)))
    x, y = (round(float(middle) - side / 2) for middle in centre(box))
    height, width = picture.shape[:2]
    rows = np.arange(y, y + side).clip(0, height - 1)
    columns = np.arange(x, x + side).clip(0, width - 1)
    square = torch.from_numpy(picture[np.ix_(rows, columns)]).permute(2, 0, 1)[None].float()
    return nn.functional.interpolate(square, (size, size), mode="bilinear", antialias=True, align_corners=False)[0]


def centre(box: Box) -> Box:
    """The middle (x, y) of a box."""
    middle: Box = (box[:2] + box[2:]) / np.float32(2)
    return middle


def area(box: Box) -> float:
    """The area of a box, in square pixels."""
    return float(np.prod(np.maximum(box[2:] - box[:2], 0)))


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    shared = area(np.concatenate([np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])]))
    together = area(one) + area(other) - shared
    return shared / together if together > 0 else 0.0
