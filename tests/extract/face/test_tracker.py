"""One person's face through an utterance: selection, and interpolation between key frames."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from foal.extract.face.batching import FaceExtractor
from foal.extract.face.detector import DetectedFace, FaceDetector, overlap
from foal.extract.face.tracker import Follower, Track

CPU = torch.device("cpu")

Build = Callable[..., FaceExtractor]

RunBatches = Callable[..., list[Track]]


def face(x: float, size: float = 10) -> DetectedFace:
    return DetectedFace(box=np.array([x, 0, x + size, size], np.float32), probability=1.0)


class Counting(FaceDetector):
    """Counts the images that it gets."""

    images_seen = 0

    def detect(self, images: Sequence[np.ndarray]) -> list[list[DetectedFace]]:
        self.images_seen += len(images)
        return super().detect(images)


def test_the_follower_starts_with_the_largest_face_and_keeps_to_the_nearest() -> None:
    follower = Follower()
    assert follower.select([]) is None
    big = face(50, 20)
    assert follower.select([face(0), big]) is big
    near = face(60)
    assert follower.select([face(0, 40), near]) is near
    assert follower.select([]) is None
    assert follower.select([face(64), face(10, 40)]).box[0] == 64  # type: ignore[union-attr]


def test_between_overlapping_key_frames_boxes_are_interpolated(
    images: list[np.ndarray], build: Build, run_batches: RunBatches
) -> None:
    still = [images[0], *images] * 2
    chosen = build(detect_stride=4)
    counting = Counting(min_face_fraction=0.1, min_probability=0.9, device=CPU)
    (followed,) = run_batches(replace(chosen, detector=counting), still)
    assert counting.images_seen == 1 + 5
    (detected,) = run_batches(build(detect_stride=1), still)
    assert followed.valid.all()
    scale = np.tile(np.array(still[0].shape[1::-1]), 2)
    shared = [overlap(a, b) for a, b in zip(followed.boxes * scale, detected.boxes * scale, strict=True)]
    assert np.median(shared) > 0.9
    assert min(shared) > 0.7
    assert len(followed.probabilities) == 6


def test_between_distant_key_frames_every_frame_is_detected(
    images: list[np.ndarray], build: Build, run_batches: RunBatches
) -> None:
    face, rest = images[0], np.full_like(images[0], 90)
    left, right = np.concatenate([face, rest], axis=1), np.concatenate([rest, face], axis=1)
    (track,) = run_batches(build(detect_stride=4), [left, left, left, right, right])
    middles = (track.boxes[:, 0] + track.boxes[:, 2]) / 2
    assert (middles[:3] < 0.5).all()
    assert (middles[3:] > 0.5).all()
