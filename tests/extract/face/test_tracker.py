"""The face track of one person in an utterance: selection, and interpolation between key frames."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from foal.extract.face.batching import FaceExtractor
from foal.extract.face.detector import DetectedFace, FaceDetector, overlap
from foal.extract.face.tracker import Follower, FrameSample, Span, Track

CPU = torch.device("cpu")

Build = Callable[..., FaceExtractor]

RunBatches = Callable[..., list[Track]]


def face(x: float, size: float = 10) -> DetectedFace:
    return DetectedFace(box=np.array([x, 0, x + size, size], np.float32), probability=1.0)


class CountingDetector(FaceDetector):
    """A detector that counts its images."""

    image_count = 0

    def detect(self, images: Sequence[np.ndarray]) -> list[list[DetectedFace]]:
        self.image_count += len(images)
        return super().detect(images)


IMAGE = np.zeros((40, 100, 3), np.uint8)


def test_the_follower_selects_the_largest_face_first_and_then_the_nearest() -> None:
    follower = Follower()
    assert follower.select([], IMAGE) is None
    largest = face(50, 20)
    assert follower.select([face(0), largest], IMAGE) is largest
    nearest = face(60)
    assert follower.select([face(0, 40), nearest], IMAGE) is nearest
    assert follower.select([], IMAGE) is None
    assert follower.select([face(64), face(10, 40)], IMAGE).box[0] == 64  # type: ignore[union-attr]


def test_largest_and_centre_choose_again_in_each_image() -> None:
    large, central = face(0, 30), face(48, 5)
    for choose, chosen in (("largest", large), ("centre", central)):
        follower = Follower(choose)  # type: ignore[arg-type]
        # The faces before do not matter.
        assert follower.select([face(80, 12)], IMAGE) is not None
        assert follower.peek([large, central], IMAGE) is chosen
        assert follower.select([central, large], IMAGE) is chosen
        assert follower.select([], IMAGE) is None


@pytest.mark.parametrize(("choose", "side"), [("first-followed", "left"), ("largest", "right"), ("centre", "right")])
def test_an_utterance_gets_the_chosen_one_of_two_faces(
    images: list[np.ndarray], build: Build, run_batches: RunBatches, choose: str, side: str
) -> None:
    small = np.full_like(images[0], 90)
    height, width = small.shape[:2]
    small[: height // 2, : width // 2] = images[0][::2, ::2][: height // 2, : width // 2]
    background = np.full_like(small, 90)
    alone, both = np.concatenate([small, background], 1), np.concatenate([small, images[0]], 1)
    # Cut so that the right face is nearer to the centre.
    frames = [frame[:, : 2 * width] for frame in [alone, *[both] * 4]]
    extractor = build(choose=choose, detect_stride=2)
    (track,) = run_batches(extractor, frames)
    middles = (track.boxes[:, 0] + track.boxes[:, 2]) / 2
    assert middles[0] < 0.5
    assert (middles[2:] < 0.5).all() == (side == "left")
    assert (middles[2:] > 0.5).all() == (side == "right")
    assert track.face_counts == [1, 2, 2]
    assert track.quality()["faces"] == 2


def test_the_number_of_faces_is_the_median_over_key_frames(
    images: list[np.ndarray], build: Build, run_batches: RunBatches
) -> None:
    blank = np.full_like(images[0], 90)
    (two_of_four,) = run_batches(build(detect_stride=1), [images[0], blank, images[1], blank])
    (none,) = run_batches(build(), [blank])
    (undetected,) = run_batches(build(region="crop"), [images[0]])
    assert two_of_four.quality()["faces"] == 0.5
    assert none.quality()["faces"] == 0
    assert "faces" not in undetected.quality()


def test_between_overlapping_key_frames_boxes_are_interpolated(
    images: list[np.ndarray], build: Build, run_batches: RunBatches
) -> None:
    frames = [images[0], *images] * 2
    extractor = build(detect_stride=4)
    counting = CountingDetector(min_face_fraction=0.1, min_probability=0.9, device=CPU)
    (interpolated,) = run_batches(replace(extractor, detector=counting), frames)
    assert counting.image_count == 1 + 5
    (detected,) = run_batches(build(detect_stride=1), frames)
    assert interpolated.valid.all()
    scale = np.tile(np.array(frames[0].shape[1::-1]), 2)
    overlaps = [overlap(a, b) for a, b in zip(interpolated.boxes * scale, detected.boxes * scale, strict=True)]
    assert np.median(overlaps) > 0.9
    assert min(overlaps) > 0.7
    assert len(interpolated.probabilities) == 6


def test_between_distant_key_frames_every_frame_is_detected(
    images: list[np.ndarray], build: Build, run_batches: RunBatches
) -> None:
    face, background = images[0], np.full_like(images[0], 90)
    left, right = np.concatenate([face, background], axis=1), np.concatenate([background, face], axis=1)
    (track,) = run_batches(build(detect_stride=4), [left, left, left, right, right])
    centres = (track.boxes[:, 0] + track.boxes[:, 2]) / 2
    assert (centres[:3] < 0.5).all()
    assert (centres[3:] > 0.5).all()


def test_it_is_known_in_advance_where_frames_between_are_detected() -> None:
    track = Track.empty(8, 4)
    frames = [FrameSample(position=position, image=IMAGE) for position in range(8)]
    first, span = Span(track=track, samples=frames[:1]), Span(track=track, samples=frames[1:4])
    near, far = face(1), face(60)
    assert not track.will_detect(first, None, [face(0)])
    for before, faces, expected in (
        ([face(0)], [near], False),
        ([face(0)], [far], True),
        ([], [near], True),
        ([face(0)], [], True),
        # Which of two faces is followed is not known yet.
        ([face(0), far], [near], False),
    ):
        assert track.will_detect(span, before, faces) is expected
    asked: list[int] = []

    def detect(images: Sequence[np.ndarray]) -> list[list[DetectedFace]]:
        asked.append(len(images))
        return [[] for _ in images]

    track.interpolate(first, [face(0)], detect)
    assert not track.will_detect(span, None, [near])
    assert track.will_detect(span, None, [])
    track.interpolate(span, [near], detect)
    assert not asked
    last = Span(track=track, samples=frames[4:8])
    assert track.will_detect(last, None, [])
    track.interpolate(last, [], detect)
    assert asked == [3]
