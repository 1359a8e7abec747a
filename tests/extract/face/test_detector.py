"""The face detector on drawn faces, and cutting out a face."""

from collections.abc import Callable

import numpy as np
import torch

from foal.extract.face.batching import FaceExtractor
from foal.extract.face.detector import FaceDetector, cut_face
from foal.extract.face.tracker import Track

CPU = torch.device("cpu")

Build = Callable[..., FaceExtractor]

RunBatches = Callable[..., list[Track]]


def detector(**changes: float) -> FaceDetector:
    return FaceDetector(**({"min_face_fraction": 0.1, "min_probability": 0.9, "device": CPU} | changes))  # type: ignore[arg-type]


def test_detections_do_not_depend_on_the_batch(images: list[np.ndarray]) -> None:
    together = detector().detect(images)
    assert all(len(faces) == 1 for faces in together)
    for image, faces in zip(images, together, strict=True):
        (alone,) = detector().detect([image])
        np.testing.assert_allclose(alone[0].box, faces[0].box, atol=0.01)


def test_no_face_and_several_faces_are_detected(images: list[np.ndarray]) -> None:
    empty = np.full_like(images[0], 90)
    assert [len(faces) for faces in detector().detect([empty, images[0], empty])] == [0, 1, 0]
    assert detector().detect([empty]) == [[]]
    assert detector().detect([np.zeros((12, 200, 3), np.uint8)]) == [[]]
    two = np.concatenate([images[0], images[1]], axis=1)
    assert len(detector().detect([two])[0]) == 2


def test_the_face_is_cut_square_with_a_margin_and_the_edge_repeats() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[40:60, 30:50] = 200
    cut = cut_face(image, np.array([30, 40, 50, 60], np.float32), size=40, margin=0.0)
    assert cut.shape == (3, 40, 40)
    assert cut.min() == 200
    wide = cut_face(image, np.array([30, 40, 50, 60], np.float32), size=40, margin=1.0)
    assert wide[0, 20, 20] == 200
    assert wide[0, 0, 0] == 0
    image[:, :5] = 77
    edge = cut_face(image, np.array([-20, 40, 0, 60], np.float32), size=10, margin=0.0)
    assert set(edge.flatten().tolist()) == {77.0}
