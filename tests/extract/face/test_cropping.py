"""Face crops: stretched as facenet-pytorch cuts them, or square."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from facenet_pytorch import fixed_image_standardization
from facenet_pytorch.models.utils.detect_face import extract_face
from numpy.typing import NDArray
from PIL import Image

from foal.extract.encoders.transfer import HostCopy
from foal.extract.face.batching import FaceExtractor
from foal.extract.face.config import FaceCrop
from foal.extract.face.cropping import cut_face, cut_square, cut_stretched, face_region, resize_faces
from foal.extract.face.detector import FaceDetector
from foal.extract.face.tracker import Track

Build = Callable[..., FaceExtractor]
RunBatches = Callable[..., list[Track]]
CPU = torch.device("cpu")


class Recorder:
    """An encoder that keeps its inputs."""

    def __init__(self, size: int) -> None:
        self.width = 1
        self.device = CPU
        self.size = size
        self.faces: list[np.ndarray] = []

    def prepare(self, image: np.ndarray) -> torch.Tensor:
        raise AssertionError(f"expected a face, got an image of {image.shape}")

    def prepare_face(self, face: torch.Tensor) -> torch.Tensor:
        self.faces.append(face.numpy())
        return face

    def prepare_on_device(self, pixels: torch.Tensor, *, faces: bool) -> torch.Tensor:
        raise AssertionError("expected faces prepared one by one")

    def start(self, batch: torch.Tensor) -> HostCopy:
        return HostCopy(torch.zeros(len(batch), 1))

    def encode(self, prepared: Sequence[torch.Tensor]) -> NDArray[np.float32]:
        return self.start(torch.stack(list(prepared))).numpy()


def correlation(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(np.corrcoef(first.flatten().numpy(), second.flatten().numpy())[0, 1])


@pytest.mark.parametrize("margin_pixels", [0, 14, 40])
def test_stretched_faces_are_those_of_facenet_pytorch(images: list[np.ndarray], margin_pixels: int) -> None:
    detector = FaceDetector(min_face_fraction=0.1, min_probability=0.9, device=CPU)
    boxes = [faces[0].box for faces in detector.detect(images)]
    # Boxes that exceed the image on each side.
    height, width = images[0].shape[:2]
    exceeding = [-9.5, 3, width / 2, height + 8.2], [width / 2, -0.7, width + 9, height / 2]
    boxes += [np.array(box, np.float32) for box in exceeding]
    for number, box in enumerate(boxes):
        image = images[number % len(images)]
        expected = extract_face(Image.fromarray(image), box, image_size=160, margin=margin_pixels)
        cut = cut_stretched(image, box, size=160, margin=margin_pixels / (160 - margin_pixels))
        assert (cut.shape, cut.dtype) == (expected.shape, expected.dtype)
        assert correlation(cut, expected) > 0.999
        np.testing.assert_array_equal(cut, expected)


def test_the_encoder_gets_the_stretched_faces_of_the_tracked_boxes(
    images: list[np.ndarray], build: Build, run_batches: RunBatches
) -> None:
    recorder = Recorder(160)
    default = build("random:facenet", detect_stride=4)
    extractor = FaceExtractor(
        detector=default.detector, encoder=recorder, settings=default.settings, crop=default.crop, batch=16
    )
    (track,) = run_batches(extractor, images)
    assert default.crop == FaceCrop(shape="stretched", margin=0.0)
    assert len(recorder.faces) == len(images)
    for image, box, face in zip(images, track.boxes, recorder.faces, strict=True):
        scale = np.array([image.shape[1], image.shape[0]] * 2, np.float32)
        expected = extract_face(Image.fromarray(image), box * scale)
        # Boxes are stored as fractions: a side may be rounded to the next pixel.
        assert correlation(torch.from_numpy(face), expected) > 0.99
    standardized = fixed_image_standardization(torch.from_numpy(recorder.faces[0]))
    assert float(standardized.abs().max()) <= 1


def test_a_square_face_of_a_narrow_box_is_wider_than_a_stretched_one(images: list[np.ndarray]) -> None:
    detector = FaceDetector(min_face_fraction=0.1, min_probability=0.9, device=CPU)
    (faces,) = detector.detect(images[:1])
    box = faces[0].box
    assert (box[2] - box[0]) / (box[3] - box[1]) < 0.9
    expected = extract_face(Image.fromarray(images[0]), box)
    assert correlation(cut_face(images[0], box, size=160, crop=FaceCrop(shape="square", margin=0.0)), expected) < 0.9
    assert torch.equal(cut_face(images[0], box, size=160, crop=FaceCrop(shape="stretched", margin=0.0)), expected)


@pytest.mark.parametrize("crop", [FaceCrop(shape="stretched", margin=0.0), FaceCrop(shape="square", margin=0.4)])
def test_faces_resized_together_are_those_cut_one_by_one(images: list[np.ndarray], crop: FaceCrop) -> None:
    boxes = [(40, 30, 120, 150), (-20, 5, 90, 400), (60, 60, 63, 62), (100, 100, 500, 200)]
    pairs = [(image, np.array(box, np.float32)) for image in images[:2] for box in boxes]
    regions = [torch.from_numpy(face_region(image, box, crop).copy()) for image, box in pairs]
    together = resize_faces(regions, size=80, crop=crop, device=CPU)
    expected = torch.stack([cut_face(image, box, size=80, crop=crop) for image, box in pairs])
    torch.testing.assert_close(together, expected, rtol=0, atol=0 if crop.shape == "stretched" else 5e-3)


def test_degenerate_boxes_give_a_pixel_of_the_image() -> None:
    image = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    for box in ([5, 5, 5, 5], [-30, -30, -10, -10], [100, 100, 120, 130], [9, 9, 3, 3]):
        cut = cut_stretched(image, np.array(box, np.float32), size=8, margin=0.0)
        assert cut.shape == (3, 8, 8)
        assert all(channel.unique().numel() == 1 for channel in cut)


def test_a_square_crop_has_a_margin_and_repeats_the_image_edge() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[40:60, 30:50] = 200
    crop = cut_square(image, np.array([30, 40, 50, 60], np.float32), size=40, margin=0.0)
    assert crop.shape == (3, 40, 40)
    assert crop.min() == 200
    with_margin = cut_square(image, np.array([30, 40, 50, 60], np.float32), size=40, margin=1.0)
    assert with_margin[0, 20, 20] == 200
    assert with_margin[0, 0, 0] == 0
    image[:, :5] = 77
    at_edge = cut_square(image, np.array([-20, 40, 0, 60], np.float32), size=10, margin=0.0)
    assert set(at_edge.flatten().tolist()) == {77.0}
