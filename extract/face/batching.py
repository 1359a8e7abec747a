"""The way of pictures to embeddings: detect, follow, cut, encode, in batches across utterances."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ...shared.config.settings import FaceSettings
from ..encoders.inference import halved
from ..media.video import Picture
from .detector import Face, FaceDetector, cut_face
from .tracker import Shot, Span, Track

DETECT_TOGETHER = {"cpu": 1, "cuda": 64}
"""Key pictures that the detector is given at once. Eight would be a tenth faster on a CPU, but what it finds in one
then depends on the others by some 1e-4 pixels, and the last bit of an embedding on who was in its chunk."""
PICTURES_HELD = 64 << 20
"""Bytes of pictures that wait for the detector: of large ones it gets fewer at once."""


class PictureEncoder(Protocol):
    """A frozen network: pictures in, one embedding each out."""

    width: int
    size: int

    def prepare(self, picture: Picture) -> torch.Tensor:
        """A whole picture (h, w, 3) as the network wants it, (3, h', w')."""
        ...

    def prepare_face(self, face: torch.Tensor) -> torch.Tensor:
        """A face (3, size, size), 0 to 255, as the network wants it."""
        ...

    def encode(self, prepared: Sequence[torch.Tensor]) -> NDArray[np.float32]:
        """Embeddings (n, d_v) of n prepared pictures of one shape."""
        ...


@dataclass(frozen=True, kw_only=True)
class FacePath:
    """Detector, encoder, and how they are used; `detector` is None where the view is not the face."""

    detector: FaceDetector | None
    encoder: PictureEncoder
    settings: FaceSettings
    batch: int

    def prepare(self, picture: Picture, face: Face | None) -> torch.Tensor:
        """A picture, or the face in it, as the encoder wants it."""
        if face is None:
            return self.encoder.prepare(picture)
        size = self.settings.size or self.encoder.size
        return self.encoder.prepare_face(cut_face(picture, face.box, size=size, margin=self.settings.margin))


class FaceBatches:
    """Takes the pictures of utterances one by one, fills their tracks a batch at a time.

    On a CPU an embedding is the same to the last bit whatever is batched with it: what is left of a chunk when a file
    is damaged, or a worker died over it, gives what the whole chunk would have given.
    """

    def __init__(self, path: FacePath) -> None:
        self._path = path
        self._together = DETECT_TOGETHER[path.detector.device.type] if path.detector else 0
        self._spans: list[Span] = []
        self._held = 0
        self._prepared: list[tuple[Track, int, torch.Tensor]] = []

    def push(self, track: Track, shot: Shot) -> None:
        """Take an utterance's next picture; positions ascend."""
        track.seen += 1
        if self._path.detector is None:
            self._prepare(track, shot, None)
            return
        self._hold(track.gather(shot, self._path.settings.detect_stride))
        self._held += shot.picture.nbytes
        if len(self._spans) >= self._together or self._held > PICTURES_HELD:
            self._detect()

    def end(self, track: Track) -> None:
        """There are no more pictures of this utterance."""
        self._hold(track.rest())
        track.ended = True

    def finish(self) -> None:
        """Work off what is left."""
        self._detect()
        self._encode()

    def _hold(self, span: Span | None) -> None:
        if span is not None:
            self._spans.append(span)
            span.track.waiting += len(span.shots)

    def _detect(self) -> None:
        spans, self._spans, self._held = self._spans, [], 0
        found = self._faces([span.key for span in spans]) if spans else []
        for span, among in zip(spans, found, strict=True):
            track = span.track
            for shot, face in zip(span.shots, track.resolve(span, among, self._faces), strict=True):
                track.waiting -= 1
                if face is not None:
                    height, width = shot.picture.shape[:2]
                    track.boxes[shot.position] = face.box / (width, height, width, height)
                    self._prepare(track, shot, face)

    def _faces(self, pictures: Sequence[Picture]) -> list[list[Face]]:
        """All faces of each picture; those of one size go through the detector together."""
        assert self._path.detector is not None
        found: list[list[Face]] = [[] for _ in pictures]
        shapes: dict[tuple[int, ...], list[int]] = {}
        for number, picture in enumerate(pictures):
            shapes.setdefault(picture.shape, []).append(number)
        for numbers in shapes.values():
            together = self._path.detector.detect([pictures[number] for number in numbers])
            for number, faces in zip(numbers, together, strict=True):
                found[number] = faces
        return found

    def _prepare(self, track: Track, shot: Shot, face: Face | None) -> None:
        prepared = self._path.prepare(shot.picture, face)
        if self._prepared and self._prepared[0][2].shape != prepared.shape:
            self._encode()
        track.waiting += 1
        self._prepared.append((track, shot.position, prepared))
        if len(self._prepared) == self._path.batch:
            self._encode()

    def _encode(self) -> None:
        prepared, self._prepared = self._prepared, []
        if not prepared:
            return
        tensors = [tensor for _, _, tensor in prepared]
        # Always as many: libraries choose their ways of computing by the shape, and the last bits with them.
        tensors += tensors[-1:] * (self._path.batch - len(tensors))
        remedy = "lower extract.batch_images or extract.face.size"
        embeddings = halved(lambda batch: list(self._path.encoder.encode(batch)), tensors, remedy=remedy)
        for (track, position, _), values in zip(prepared, embeddings, strict=False):
            track.take(position, values)
