"""One person's face through the pictures of one utterance: detected now and then, followed between."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..media.video import Picture
from .detector import Box, Face, area, centre, overlap

HIGH_OVERLAP = 0.7
"""Between two detections whose boxes overlap more than this (intersection over union), a straight line will do."""

Detect = Callable[[Sequence[Picture]], list[list[Face]]]


@dataclass(frozen=True, kw_only=True)
class Shot:
    """A picture of an utterance: the `position`-th of those looked at."""

    position: int
    picture: Picture


@dataclass(frozen=True, kw_only=True)
class Span:
    """The shots since the last one in which faces were looked for; the last of these is the next such one."""

    track: "Track"
    shots: list[Shot]

    @property
    def key(self) -> Picture:
        """The picture to look for faces in."""
        return self.shots[-1].picture


class Follower:
    """Keeps to one person: the face nearest to the last one seen, the largest where there was none yet."""

    def __init__(self) -> None:
        self._last: Box | None = None

    def look(self, faces: Sequence[Face]) -> Face | None:
        """The person's face among those of the next picture, without going on to it."""
        if not faces:
            return None
        if self._last is None:
            return max(faces, key=lambda face: area(face.box))
        last = centre(self._last)
        return min(faces, key=lambda face: float(np.linalg.norm(centre(face.box) - last)))

    def choose(self, faces: Sequence[Face]) -> Face | None:
        """The person's face among those of the next picture."""
        chosen = self.look(faces)
        if chosen is not None:
            self._last = chosen.box
        return chosen


@dataclass(kw_only=True)
class Track:
    """What has been found of an utterance: embeddings `values` (t_v, d_v), `valid` (t_v,), `boxes` (t_v, 4).

    `declared` is the number of its pictures that the file says it has, where it does, and `seen` of those decoded.
    A box is in fractions of the picture, NaN where there is no face. `waiting` counts pictures on their way to the
    encoder.
    """

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    declared: int | None = None
    seen: int = 0
    waiting: int = 0
    ended: bool = False
    probabilities: list[float] = field(default_factory=list)
    _follower: Follower = field(default_factory=Follower)
    _gathered: list[Shot] = field(default_factory=list)
    _before: tuple[int, Face | None] | None = None
    _started: bool = False

    @classmethod
    def empty(cls, length: int, width: int, declared: int | None = None) -> "Track":
        """Of an utterance with `length` pictures."""
        return cls(
            declared=declared,
            values=np.zeros((length, width), np.float32),
            valid=np.zeros(length, bool),
            boxes=np.full((length, 4), np.nan, np.float32),
        )

    @property
    def finished(self) -> bool:
        """Whether all that will ever be in it is there."""
        return self.ended and self.waiting == 0

    def gather(self, shot: Shot, every: int) -> Span | None:
        """Take the next shot; gives the span that it completes: the first shot alone, then each `every`-th."""
        self._gathered.append(shot)
        if self._started and len(self._gathered) < every:
            return None
        return self.rest()

    def rest(self) -> Span | None:
        """The span up to the last shot, where there is one."""
        if not self._gathered:
            return None
        span = Span(track=self, shots=self._gathered)
        self._started, self._gathered = True, []
        return span

    def resolve(self, span: Span, found: Sequence[Face], detect: Detect) -> list[Face | None]:
        """The person's face in each shot of a span, given the faces found in its key picture.

        Where the face of the key picture overlaps much with the one before, boxes between lie on the line between them;
        elsewhere faces are looked for in every picture between.
        """
        *between, key = span.shots
        faces: list[Face | None] = []
        if between and self._before is not None:
            position, before = self._before
            face = self._follower.look(found)
            if before is not None and face is not None and overlap(before.box, face.box) > HIGH_OVERLAP:
                faces = [_between(before, face, (s.position - position) / (key.position - position)) for s in between]
            else:
                faces = [self._detected(among) for among in detect([shot.picture for shot in between])]
        faces.append(self._detected(found))
        self._before = key.position, faces[-1]
        return faces

    def _detected(self, among: Sequence[Face]) -> Face | None:
        face = self._follower.choose(among)
        if face is not None:
            self.probabilities.append(face.probability)
        return face

    def take(self, position: int, values: NDArray[np.float32]) -> None:
        """The embedding of a shot."""
        self.values[position], self.valid[position] = values, True
        self.waiting -= 1

    def quality(self) -> dict[str, float]:
        """The share of the declared pictures that was decoded, and the detector's mean probability."""
        known = {"decoded": min(1.0, self.seen / self.declared)} if self.declared else {}
        return known | ({"probability": float(np.mean(self.probabilities))} if self.probabilities else {})

    def note(self) -> str:
        """Why pictures or the whole face are missing; empty if nothing is."""
        wanted = max(len(self.valid), self.declared or 0)
        if self.seen < wanted:
            return f"only {self.seen} of {wanted} pictures could be decoded"
        return "" if self.valid.any() else "no face found"


def _between(one: Face, other: Face, part: float) -> Face:
    box = one.box * np.float32(1 - part) + other.box * np.float32(part)
    return Face(box=box, probability=one.probability * (1 - part) + other.probability * part)
