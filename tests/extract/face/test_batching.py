"""Embeddings do not depend on the batch, and frames without a face are invalid."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from foal.extract.face.batching import DETECTION_BATCH, IN_FLIGHT, FaceExtractor
from foal.extract.face.detector import DetectedFace, FaceDetector
from foal.extract.face.tracker import Track

Build = Callable[..., FaceExtractor]

RunBatches = Callable[..., list[Track]]


@pytest.mark.parametrize("encoder", ["random:tiny", pytest.param("random:facenet", marks=pytest.mark.slow)])
@pytest.mark.parametrize("stride", [1, 3])
def test_embeddings_do_not_depend_on_the_batch(
    images: list[np.ndarray], encoder: str, stride: int, build: Build, run_batches: RunBatches
) -> None:
    images = images[:5]
    extractor = build(encoder, detect_stride=stride)
    (batched,) = run_batches(extractor, images)
    (unbatched,) = run_batches(build(encoder, detect_stride=stride, batch=1), images)
    interleaved = run_batches(replace(extractor, batch=5), images[:3], images, images[::-1])
    assert batched.values.shape == (len(images), extractor.encoder.width)
    assert batched.valid.all()
    for other in (unbatched, interleaved[1]):
        assert other.valid.all()
        np.testing.assert_allclose(other.boxes, batched.boxes, atol=1e-4)
        assert np.linalg.norm(batched.values - other.values) <= 1e-4 * np.linalg.norm(batched.values)
    # Other utterances of the chunk change at most the last bits: MTCNN refines the candidates of a batch together.
    same_size = run_batches(extractor, images[:3], images, images[::-1])[1]
    np.testing.assert_allclose(same_size.boxes, batched.boxes, atol=1e-6)
    assert np.linalg.norm(batched.values - same_size.values) <= 1e-5 * np.linalg.norm(batched.values)


def test_frames_without_a_face_are_zero_and_invalid(
    images: list[np.ndarray], build: Build, run_batches: RunBatches
) -> None:
    blank = np.zeros_like(images[0])
    for stride in (1, 3):
        (track,) = run_batches(build(detect_stride=stride), [*images[:2], blank, blank, blank, images[2]])
        assert track.valid.tolist() == [True, True, False, False, False, True]
        assert np.abs(track.values[0]).max() > 0
        assert not track.values[2].any()
        assert np.isnan(track.boxes[2]).all()
        assert len(track.probabilities) == 3
        assert track.note() == ""
    (blank_track,) = run_batches(build(), [blank] * 4)
    assert blank_track.note() == "no face found"


@pytest.mark.parametrize("region", ["crop", "frame"])
def test_without_detection_the_complete_image_is_encoded(
    images: list[np.ndarray], region: str, build: Build, run_batches: RunBatches
) -> None:
    extractor = build(region=region)
    assert extractor.detector is None
    (track,) = run_batches(extractor, [images[0], np.zeros_like(images[0])])
    assert track.valid.all()
    assert np.isnan(track.boxes).all()
    assert not track.probabilities
    np.testing.assert_allclose(
        track.values[0], extractor.encoder.encode([extractor.encoder.prepare(images[0])])[0], atol=1e-5
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"crop_shape": "stretched"},
        {"crop_shape": "square", "margin": 0.3},
        {"region": "crop"},
    ],
)
def test_images_resized_on_the_device_give_the_same_embeddings(
    images: list[np.ndarray], settings: dict[str, object], build: Build, run_batches: RunBatches
) -> None:
    """The way of a GPU, here on a CPU: images of all sizes are resized together, in batches that are not filled up."""
    mixed = [*images[:3], images[3][:200], *images[4:]]
    extractor = build(detect_stride=2, batch=3, **settings)
    (expected,) = run_batches(extractor, mixed)
    (track,) = run_batches(replace(extractor, on_device=True), mixed)
    assert track.valid.all()
    np.testing.assert_array_equal(track.boxes, expected.boxes)
    np.testing.assert_allclose(track.values, expected.values, atol=1e-5 * np.abs(expected.values).max())


@pytest.mark.parametrize("stride", [1, 3])
def test_large_batches_in_flight_give_the_same_tracks(
    monkeypatch: pytest.MonkeyPatch, images: list[np.ndarray], stride: int, build: Build, run_batches: RunBatches
) -> None:
    """The order of a GPU, here on a CPU: many key frames at once, frames between after them, results fetched late."""
    blank = np.zeros_like(images[0])
    utterances = images, [images[0], blank, blank, images[3], images[4], blank, images[5]], [blank] * 5
    extractor = build(detect_stride=stride)
    expected = run_batches(extractor, *utterances)
    monkeypatch.setitem(DETECTION_BATCH, "cpu", 64)
    monkeypatch.setitem(IN_FLIGHT, "cpu", 1)
    calls: list[int] = []
    detect = FaceDetector.detect

    def counted(self: FaceDetector, some: Sequence[np.ndarray]) -> list[list[DetectedFace]]:
        calls.append(len(some))
        return detect(self, some)

    monkeypatch.setattr(FaceDetector, "detect", counted)
    for track, one in zip(run_batches(replace(extractor, batch=4), *utterances), expected, strict=True):
        np.testing.assert_array_equal(track.valid, one.valid)
        np.testing.assert_allclose(track.boxes, one.boxes, atol=1e-3)
        np.testing.assert_allclose(track.values, one.values, atol=1e-4 * np.abs(one.values).max(initial=1e-9))
        np.testing.assert_allclose(track.probabilities, one.probabilities, atol=1e-5)
        assert track.face_counts == one.face_counts
    # All key frames in one call. Where one of two has no face, the frames between them are detected in another.
    assert len(calls) == (1 if stride == 1 else 2)
