"""The face detector on synthetic faces."""

from collections.abc import Callable

import numpy as np
import torch

from foal.extract.face.batching import FaceExtractor
from foal.extract.face.detector import FaceDetector
from foal.extract.face.tracker import Track

CPU = torch.device("cpu")

Build = Callable[..., FaceExtractor]

RunBatches = Callable[..., list[Track]]


def detector(**changes: float) -> FaceDetector:
    return FaceDetector(**({"min_face_fraction": 0.1, "min_probability": 0.9, "device": CPU} | changes))  # type: ignore[arg-type]


def test_detections_do_not_depend_on_the_batch(images: list[np.ndarray]) -> None:
    batched = detector().detect(images)
    assert all(len(faces) == 1 for faces in batched)
    for image, faces in zip(images, batched, strict=True):
        (unbatched,) = detector().detect([image])
        np.testing.assert_allclose(unbatched[0].box, faces[0].box, atol=0.01)


def test_zero_one_and_two_faces_are_detected(images: list[np.ndarray]) -> None:
    blank = np.full_like(images[0], 90)
    assert [len(faces) for faces in detector().detect([blank, images[0], blank])] == [0, 1, 0]
    assert detector().detect([blank]) == [[]]
    assert detector().detect([np.zeros((12, 200, 3), np.uint8)]) == [[]]
    side_by_side = np.concatenate([images[0], images[1]], axis=1)
    assert len(detector().detect([side_by_side])[0]) == 2
