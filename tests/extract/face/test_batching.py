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
@pytest.mark.parametrize("every", [1, 3])
def test_embeddings_do_not_depend_on_the_batch(
    images: list[np.ndarray], encoder: str, every: int, build: Build, run_batches: RunBatches
) -> None:
    usual = build(encoder, detect_stride=every)
    (together,) = run_batches(usual, images)
    (singly,) = run_batches(build(encoder, detect_stride=every, batch=1), images)
    others = run_batches(replace(usual, batch=5), images[:3], images, images[::-1])
    assert together.values.shape == (len(images), usual.encoder.width)
    assert together.valid.all()
    for other in (singly, others[1]):
        assert other.valid.all()
        np.testing.assert_allclose(other.boxes, together.boxes, atol=1e-4)
        assert np.linalg.norm(together.values - other.values) <= 1e-4 * np.linalg.norm(together.values)
    # With the same batch size they are bit-identical, whatever else is in the chunk.
    among = run_batches(usual, images[:3], images, images[::-1])[1]
    assert np.array_equal(among.values, together.values)
    assert np.array_equal(among.boxes, together.boxes)


def test_frames_without_a_face_are_zero_and_invalid(
    images: list[np.ndarray], build: Build, run_batches: RunBatches
) -> None:
    empty = np.zeros_like(images[0])
    for every in (1, 3):
        (track,) = run_batches(build(detect_stride=every), [*images[:2], empty, empty, empty, images[2]])
        assert track.valid.tolist() == [True, True, False, False, False, True]
        assert np.abs(track.values[0]).max() > 0
        assert not track.values[2].any()
        assert np.isnan(track.boxes[2]).all()
        assert len(track.probabilities) == 3
        assert track.note() == ""
    (empty_track,) = run_batches(build(), [empty] * 4)
    assert empty_track.note() == "no face found"


@pytest.mark.parametrize("region", ["crop", "frame"])
def test_without_detection_the_whole_image_is_encoded(
    images: list[np.ndarray], region: str, build: Build, run_batches: RunBatches
) -> None:
    chosen = build(region=region)
    assert chosen.detector is None
    (track,) = run_batches(chosen, [images[0], np.zeros_like(images[0])])
    assert track.valid.all()
    assert np.isnan(track.boxes).all()
    assert not track.probabilities
    np.testing.assert_allclose(
        track.values[0], chosen.encoder.encode([chosen.encoder.prepare(images[0])])[0], atol=1e-5
    )
