"""Finds the face in each picture of an utterance and follows it from one to the next."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray
from torch import nn

from .picture import Picture

Boxes = NDArray[np.float32]

SMALLEST_PIXELS = 20
"""MTCNN cannot see a face smaller than this."""


@dataclass(frozen=True, kw_only=True)
class Face:
    """A face in a picture: x0, y0, x1, y1 in its pixels, and the detector's probability."""

    box: NDArray[np.float32]
    probability: float


class FaceDetector:
    """MTCNN (Zhang et al. 2016) with the weights that come with facenet-pytorch.

    Only `detect` with keep_all is used: the other calls fail on pictures without a face.
    """

    def __init__(self, *, min_face: float, min_probability: float, device: torch.device) -> None:
        self._mtcnn = MTCNN(keep_all=True, device=device)
        self._min_face, self._min_probability = min_face, min_probability

    def detect(self, pictures: Sequence[Picture]) -> list[list[Face]]:
        """All faces of each picture (h, w, 3), RGB, all pictures of one size."""
        height, width = pictures[0].shape[:2]
        smallest = max(SMALLEST_PIXELS, round(self._min_face * height))
        if min(height, width) < smallest:
            return [[] for _ in pictures]
        self._mtcnn.min_face_size = smallest
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


class Follower:
    """Keeps to one person: the face nearest to the last one seen, the largest where there was none yet."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None

    def choose(self, faces: Sequence[Face]) -> Face | None:
        """The person's face among those of the next picture."""
        if not faces:
            return None
        if self._last is None:
            chosen = max(faces, key=lambda face: float(_area(face.box)))
        else:
            last = _centre(self._last)
            chosen = min(faces, key=lambda face: float(np.linalg.norm(_centre(face.box) - last)))
        self._last = chosen.box
        return chosen


def cut_face(picture: Picture, box: NDArray[np.float32], *, size: int, margin: float) -> torch.Tensor:
    """The face as a square (3, size, size), float, 0 to 255; beyond the picture's edge its outermost pixels repeat.

    Square, so that no face is stretched; with `margin` times its longer side around it.
    """
    side = max(1, round(float(max(box[2] - box[0], box[3] - box[1])) * (1 + margin)))
    x, y = (round(float(centre) - side / 2) for centre in _centre(box))
    height, width = picture.shape[:2]
    rows = np.arange(y, y + side).clip(0, height - 1)
    columns = np.arange(x, x + side).clip(0, width - 1)
    square = torch.from_numpy(picture[np.ix_(rows, columns)]).permute(2, 0, 1)[None].float()
    return nn.functional.interpolate(square, (size, size), mode="bilinear", antialias=True, align_corners=False)[0]


def _centre(box: NDArray[np.float32]) -> NDArray[np.float32]:
    centre: NDArray[np.float32] = (box[:2] + box[2:]) / np.float32(2)
    return centre


def _area(box: NDArray[np.float32]) -> np.float32:
    area: np.float32 = (box[2] - box[0]) * (box[3] - box[1])
    return area
