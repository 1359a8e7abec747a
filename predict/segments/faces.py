"""Several people in a picture: every face is tracked, and each track becomes an utterance of its own.

Faces are detected in every `detect_stride`-th picture that extraction samples, with the detector of the model's face
stream. Detections are linked to the nearest track whose last box is less than a face away. The part of the picture in
which a track stays, with a margin, becomes the column `crop` of its utterance, so that extraction detects and cuts the
face again by itself. The sound is that of the clip for all of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...extract.face.detector import DetectedFace, FaceDetector, area, center
from ...extract.media.video import NoVideoTrackError, Segment, open_video
from ...extract.media.video_reader import Backend, DecodeFallbackError, RgbImage
from ...shared.config.settings import FaceSettings
from ...shared.utterance import Box, Utterance
from ..sources import part_of

MIN_SHARE = 0.1
"""Share of the examined pictures in which a face must be seen; fewer are errors of the detector, or passers-by."""

MARGIN = 0.4
"""Added around the part of the picture in which a face stays, on each side, as a fraction of the face."""

MAX_SIZE_RATIO = 2.0
"""Faces of which one is this many times as large as the other are different people."""


@dataclass(kw_only=True)
class FaceTrack:
    """A face through a clip: its boxes in fractions of the picture, and in which of the examined pictures they are."""

    boxes: list[NDArray[np.float32]] = field(default_factory=list)
    pictures: list[int] = field(default_factory=list)

    @property
    def size(self) -> float:
        """Median area of its boxes."""
        return float(np.median([area(box) for box in self.boxes]))

    def crop(self) -> Box:
        """The part of the picture in which it stays, with a margin."""
        boxes = np.stack(self.boxes)
        sides = np.median(boxes[:, 2:] - boxes[:, :2], axis=0) * MARGIN
        low = np.clip(boxes[:, :2].min(axis=0) - sides, 0, 1)
        high = np.clip(boxes[:, 2:].max(axis=0) + sides, 0, 1)
        x0, y0, x1, y1 = (round(float(edge), 4) for edge in (*low, *high))
        return x0, y0, max(x1, x0 + 1e-3), max(y1, y0 + 1e-3)


def link_faces(pictures: Iterable[Sequence[NDArray[np.float32]]]) -> list[FaceTrack]:
    """Link the faces of successive pictures to tracks.

    Args:
        pictures: the boxes (x0, y0, x1, y1) in fractions of the picture, of each examined picture.

    Returns:
        The tracks that are seen in at least MIN_SHARE of the pictures, from left to right.
    """
    tracks: list[FaceTrack] = []
    count = 0
    for number, boxes in enumerate(pictures):
        count += 1
        pairs = sorted(
            (
                (_distance(track.boxes[-1], box), i, j)
                for i, track in enumerate(tracks)
                for j, box in enumerate(boxes)
                if _may_be_same(track.boxes[-1], box)
            ),
        )
        linked_tracks, linked_boxes = set[int](), set[int]()
        for _, i, j in pairs:
            if i not in linked_tracks and j not in linked_boxes:
                tracks[i].boxes.append(boxes[j])
                tracks[i].pictures.append(number)
                linked_tracks.add(i)
                linked_boxes.add(j)
        for j, box in enumerate(boxes):
            if j not in linked_boxes:
                tracks.append(FaceTrack(boxes=[box], pictures=[number]))
    kept = [track for track in tracks if len(track.pictures) >= MIN_SHARE * count]
    return sorted(kept, key=lambda track: float(np.median([center(box)[0] for box in track.boxes])))


def face_utterances(utterance: Utterance, settings: FaceSettings, detector: FaceDetector) -> list[Utterance]:
    """An utterance for each face in a clip; the clip itself if there is at most one, or no video.

    Args:
        utterance: the clip, with an absolute path; faces outside of its `crop` do not count.
        settings: settings of the model's face stream.
        detector: with these settings.

    Raises:
        MediaError: the video cannot be decoded.
    """
    if not utterance.video:
        return [utterance]
    try:
        tracks = link_faces(_key_boxes(utterance, settings, detector))
    except NoVideoTrackError:
        return [utterance]
    if len(tracks) < 2:
        return [utterance]
    return [
        part_of(utterance, f"face{number}", crop=",".join(map(str, _inside(utterance.box, track.crop()))))
        for number, track in enumerate(tracks, start=1)
    ]


def _key_boxes(
    utterance: Utterance, settings: FaceSettings, detector: FaceDetector, *, backend: Backend = "auto"
) -> list[list[NDArray[np.float32]]]:
    """The boxes in every `detect_stride`-th picture that extraction samples, in fractions of the utterance's part."""
    video = open_video(Path(utterance.video), backend=backend)
    plan = video.plan(Segment(start=utterance.start, end=utterance.end, fps=settings.fps))
    plan = np.where(np.arange(len(plan)) % settings.detect_stride == 0, plan, -1)
    try:
        images = video.crops([plan], [utterance.box])
        return [_boxes(image, detector.detect([image])[0]) for _, _, image in images]
    except DecodeFallbackError:
        return _key_boxes(utterance, settings, detector, backend="pyav")


def _boxes(image: RgbImage, faces: Sequence[DetectedFace]) -> list[NDArray[np.float32]]:
    height, width = image.shape[:2]
    return [np.asarray(face.box / (width, height, width, height), np.float32) for face in faces]


def _may_be_same(before: NDArray[np.float32], box: NDArray[np.float32]) -> bool:
    sizes = sorted((area(before), area(box)))
    return _distance(before, box) < 1 and sizes[1] < MAX_SIZE_RATIO**2 * sizes[0]


def _distance(before: NDArray[np.float32], box: NDArray[np.float32]) -> float:
    """Distance of two centres, in sides of the first face."""
    sides = np.maximum(before[2:] - before[:2], 1e-6)
    return float(np.abs((center(box) - center(before)) / sides).max())


def _inside(outer: Box, inner: Box) -> Box:
    """A part of a part of the picture, in fractions of the picture."""
    x0, y0, x1, y1 = outer
    width, height = x1 - x0, y1 - y0
    return (
        round(x0 + inner[0] * width, 4),
        round(y0 + inner[1] * height, 4),
        round(x0 + inner[2] * width, 4),
        round(y0 + inner[3] * height, 4),
    )
