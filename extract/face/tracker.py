"""One person's face through the frames of one utterance: detected in key frames, interpolated between them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..media.video_reader import RgbImage
from .detector import DetectedFace, PixelBox, area, center, overlap

HIGH_OVERLAP = 0.7
"""Boxes of two key frames are interpolated linearly if their intersection over union is above this."""

Choose = Literal["first-followed", "largest", "centre"]

Detect = Callable[[Sequence[RgbImage]], list[list[DetectedFace]]]
"""Detects all faces of each image."""


@dataclass(frozen=True, kw_only=True)
class FrameSample:
    """A sampled frame of an utterance: its position among them, and the image (h, w, 3)."""

    position: int
    image: RgbImage


@dataclass(frozen=True, kw_only=True)
class Span:
    """The frames of an utterance after a key frame, up to the next key frame, which is the last of them."""

    track: "Track"
    samples: list[FrameSample]

    @property
    def key_image(self) -> RgbImage:
        """Image of the key frame, in which faces are detected."""
        return self.samples[-1].image


class Follower:
    """Chooses the face to encode in each image of an utterance."""

    def __init__(self, choose: Choose = "first-followed") -> None:
        """Create the follower of one utterance.

        Args:
            choose: first-followed: the largest face at first, then the one nearest to the last selected. largest: the
                largest of each image. centre: the one of each image that is nearest to the centre of the image.
        """
        self._choose = choose
        self._last: PixelBox | None = None

    def peek(self, faces: Sequence[DetectedFace], image: RgbImage) -> DetectedFace | None:
        """The chosen face among those of the next image (h, w, 3), without moving on to it."""
        if not faces:
            return None
        if self._choose == "centre":
            height, width = image.shape[:2]
            return _nearest(faces, np.array([width / 2, height / 2], np.float32))
        if self._choose == "largest" or self._last is None:
            return max(faces, key=lambda face: area(face.box))
        return _nearest(faces, center(self._last))

    def select(self, faces: Sequence[DetectedFace], image: RgbImage) -> DetectedFace | None:
        """The chosen face among those of the next image (h, w, 3)."""
        face = self.peek(faces, image)
        if face is not None:
            self._last = face.box
        return face


def _nearest(faces: Sequence[DetectedFace], point: NDArray[np.float32]) -> DetectedFace:
    return min(faces, key=lambda face: float(np.linalg.norm(center(face.box) - point)))


@dataclass(kw_only=True)
class Track:
    """Features of one utterance, filled frame by frame.

    Attributes:
        values: embeddings (t_v, d_v), 0 where not valid.
        valid: whether the frame has an embedding, (t_v,).
        boxes: the face as (x0, y0, x1, y1) in fractions of the image, (t_v, 4); NaN without a face.
        declared: number of frames that the file's header declares; None if unknown.
        early: number of frames before the first one of the video.
        decoded: number of frames decoded.
        pending: number of frames that wait for detection or encoding.
        ended: whether no more frames will come.
        probabilities: of the faces detected, not of the interpolated ones.
        face_counts: number of faces in each key frame.
    """

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    declared: int | None = None
    early: int = 0
    decoded: int = 0
    pending: int = 0
    ended: bool = False
    probabilities: list[float] = field(default_factory=list)
    face_counts: list[int] = field(default_factory=list)
    _follower: Follower = field(default_factory=Follower)
    _samples: list[FrameSample] = field(default_factory=list)
    _last_key: tuple[int, DetectedFace | None] | None = None
    _started: bool = False

    @classmethod
    def empty(
        cls, length: int, width: int, declared: int | None = None, *, choose: Choose = "first-followed"
    ) -> "Track":
        """Create the track of an utterance of `length` frames, with embeddings of `width` numbers."""
        return cls(
            _follower=Follower(choose),
            declared=declared,
            values=np.zeros((length, width), np.float32),
            valid=np.zeros(length, bool),
            boxes=np.full((length, 4), np.nan, np.float32),
        )

    @property
    def finished(self) -> bool:
        """Whether all its frames are encoded."""
        return self.ended and self.pending == 0

    def add_frame(self, sample: FrameSample, stride: int) -> Span | None:
        """Add the next frame; returns the span that ends with it, if it is a key frame.

        Key frames are the first frame and then every `stride`-th.
        """
        self._samples.append(sample)
        if self._started and len(self._samples) < stride:
            return None
        return self.flush_span()

    def flush_span(self) -> Span | None:
        """The span of the frames added since the last key frame; its last frame becomes a key frame."""
        if not self._samples:
            return None
        span = Span(track=self, samples=self._samples)
        self._started = True
        self._samples = []
        return span

    def interpolate(self, span: Span, key_faces: Sequence[DetectedFace], detect: Detect) -> list[DetectedFace | None]:
        """Find the person's face in each frame of a span.

        Args:
            span: the next span of this track.
            key_faces: the faces detected in its key frame.
            detect: detector for the frames between, where interpolation is not accurate: unless the faces of both key
                frames overlap by more than HIGH_OVERLAP.

        Returns:
            The face of each frame of the span, None where there is none.
        """
        *between, key = span.samples
        self.face_counts.append(len(key_faces))
        faces: list[DetectedFace | None] = []
        if between and self._last_key is not None:
            position, before = self._last_key
            after = self._follower.peek(key_faces, key.image)
            if before is not None and after is not None and overlap(before.box, after.box) > HIGH_OVERLAP:
                length = key.position - position
                faces = [_blend(before, after, (sample.position - position) / length) for sample in between]
            else:
                images = [sample.image for sample in between]
                faces = [self._select(found, image) for found, image in zip(detect(images), images, strict=True)]
        faces.append(self._select(key_faces, key.image))
        self._last_key = key.position, faces[-1]
        return faces

    def will_detect(self, span: Span, before: Sequence[DetectedFace] | None, key_faces: Sequence[DetectedFace]) -> bool:
        """Whether `interpolate` will certainly detect faces in the frames between.

        Args:
            span: a span of this track.
            before: the faces detected in the key frame of the span before it; None: that span is done.
            key_faces: the faces detected in its own key frame.
        """
        if len(span.samples) == 1:
            return False
        if before is None:
            if self._last_key is None:
                return False
            before = [self._last_key[1]] if self._last_key[1] else []
        if not before or not key_faces:
            return True
        # Which of several faces is selected depends on the frames between.
        return len(before) == len(key_faces) == 1 and not overlap(before[0].box, key_faces[0].box) > HIGH_OVERLAP

    def _select(self, candidates: Sequence[DetectedFace], image: RgbImage) -> DetectedFace | None:
        face = self._follower.select(candidates, image)
        if face is not None:
            self.probabilities.append(face.probability)
        return face

    def set_embedding(self, position: int, values: NDArray[np.float32]) -> None:
        """Set the embedding (d_v,) of the frame at `position`."""
        self.values[position] = values
        self.valid[position] = True
        self.pending -= 1

    def quality(self) -> dict[str, float]:
        """Quality measures, where known.

        Returns:
            decoded: share of the declared frames that was decoded. probability: mean of the detected faces. faces:
            median number of faces in a key frame; these are spread evenly over the utterance.
        """
        quality = {"decoded": min(1.0, self.decoded / self.declared)} if self.declared else {}
        if self.face_counts:
            quality["faces"] = float(np.median(self.face_counts))
        if self.probabilities:
            quality["probability"] = float(np.mean(self.probabilities))
        return quality

    def note(self) -> str:
        """Why frames or all faces are missing; empty if nothing is missing."""
        expected = max(len(self.valid) - self.early, self.declared or 0)
        if self.decoded < expected:
            return f"only {self.decoded} of {expected} frames could be decoded"
        return "" if self.valid.any() else "no face found"


def _blend(before: DetectedFace, after: DetectedFace, fraction: float) -> DetectedFace:
    box = before.box * np.float32(1 - fraction) + after.box * np.float32(fraction)
    return DetectedFace(box=box, probability=before.probability * (1 - fraction) + after.probability * fraction)
