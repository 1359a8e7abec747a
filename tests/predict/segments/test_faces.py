"""Several faces in a clip."""

from pathlib import Path

import numpy as np
import pytest
import torch

from foal.extract.face.detector import FaceDetector
from foal.predict.segments.faces import face_utterances, link_faces
from foal.predict.sources import file_utterance, part_of
from foal.shared.config.settings import FaceSettings
from foal.shared.errors import MediaError
from foal.tests.predict.small_model import write_clip

SETTINGS = FaceSettings(fps=2.0, detect_stride=2)


def box(x: float, y: float, side: float = 0.1) -> np.ndarray:
    return np.array([x, y, x + side, y + side], np.float32)


def test_faces_that_move_a_little_are_followed() -> None:
    pictures = [[box(0.7 - 0.02 * n, 0.3), box(0.1 + 0.02 * n, 0.2)] for n in range(10)]
    left, right = link_faces(pictures)
    assert left.boxes[-1][0] == pytest.approx(0.28)
    assert right.boxes[-1][0] == pytest.approx(0.52)
    assert left.pictures == list(range(10))
    x0, y0, x1, y1 = left.crop()
    assert x0 < 0.1 < 0.38 < x1 < right.crop()[2]
    assert y0 < 0.2 < 0.3 < y1


def test_the_order_of_detections_does_not_matter() -> None:
    pictures = [[box(0.2, 0.2), box(0.6, 0.2)][:: (-1) ** n] for n in range(8)]
    assert [track.crop() for track in link_faces(pictures)] == [
        track.crop() for track in link_faces([sorted(boxes, key=lambda b: b[0]) for boxes in pictures])
    ]


def test_a_face_that_leaves_and_returns_is_the_same_and_errors_of_the_detector_are_dropped() -> None:
    pictures = [[box(0.2, 0.2)] if n not in (4, 5) else [] for n in range(20)]
    pictures[7] = [*pictures[7], box(0.8, 0.8)]
    (track,) = link_faces(pictures)
    assert len(track.pictures) == 18


def test_a_face_far_away_or_of_another_size_is_another_person() -> None:
    assert len(link_faces([[box(0.1, 0.1)]] * 5 + [[box(0.5, 0.1)]] * 5)) == 2
    assert len(link_faces([[box(0.1, 0.1, 0.1)]] * 5 + [[box(0.05, 0.05, 0.3)]] * 5)) == 2
    assert link_faces([]) == []
    assert link_faces([[], []]) == []


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector(min_face_fraction=0.1, min_probability=0.9, device=torch.device("cpu"))


def test_both_actors_of_a_synthetic_dialog_become_utterances(synthetic_corpus: Path, detector: FaceDetector) -> None:
    video = next(iter(sorted(synthetic_corpus.rglob("dialog/avi/DivX/*.avi"))))
    dialog = part_of(file_utterance(video), "0-4", start=0.0, end=4.0)
    first, second = face_utterances(dialog, SETTINGS, detector)
    assert (first.id, second.id) == (f"{dialog.id}#face1", f"{dialog.id}#face2")
    assert (first.audio, first.start, first.end) == (dialog.audio, 0.0, 4.0)
    # One actor is in the left half of the picture, the other in the right one.
    assert first.box[2] < 0.6
    assert second.box[0] > 0.4
    (alone,) = face_utterances(part_of(dialog, "left", crop="left"), SETTINGS, detector)
    assert alone.id.endswith("#left")


def test_clips_without_faces_or_video_stay_as_they_are(tmp_path: Path, detector: FaceDetector) -> None:
    for name, picture in (("bars.avi", True), ("sound.avi", False)):
        clip = file_utterance(write_clip(tmp_path / name, picture=picture))
        assert face_utterances(clip, SETTINGS, detector) == [clip]
    (tmp_path / "bad.avi").write_bytes(b"no media")
    with pytest.raises(MediaError):
        face_utterances(file_utterance(tmp_path / "bad.avi"), SETTINGS, detector)
