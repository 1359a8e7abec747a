"""Embeddings do not depend on the batch, and frames without a face are invalid."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from foal.extract.face.batching import FaceExtractor
from foal.extract.face.tracker import Track

Build = Callable[..., FaceExtractor]

RunBatches = Callable[..., list[Track]]


@pytest.mark.parametrize("encoder", ["random:tiny", pytest.param("random:facenet", marks=pytest.mark.slow)])
@pytest.mark.parametrize("stride", [1, 3])
def test_embeddings_do_not_depend_on_the_batch(
    images: list[np.ndarray], encoder: str, stride: int, build: Build, run_batches: RunBatches
) -> None:
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
