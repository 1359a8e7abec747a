"""Batches of frames across utterances: detection, tracking, cutting out faces and encoding them.

A frame passes four queues; each exists because the stage behind it takes several frames at once, or another number:

    decoding threads                      pipeline.decode_video, one thread per video
      | (1) prefetch queue                frames decoded ahead, within one budget for all threads
      v
    FaceBatches.push
      | (2) Track._samples                per utterance: frames since its last key frame
      v     add_frame, flush_span         a span is complete with its next key frame
    FaceBatches._hold
      | (3) FaceBatches._spans            complete spans, until DETECTION_BATCH or MAX_WAITING_BYTES is reached
      v     _detect: key frames together; Track.interpolate gives the frames between their faces
    FaceBatches._prepare                  cuts out the face, or takes the whole image
      | (4) FaceBatches._prepared         images, until there are `batch` of them; resized here, or on a GPU together
      v     _encode; a GPU computes a batch while the next one is prepared, _collect fetches its embeddings
    Track.set_embedding                   Track.pending counts its frames in (3) and (4)

Without detection (region crop or frame) frames go from push to (4) directly. For an encoder of clips,
clips.ClipBuffers before (4) collects the frames of an utterance into clips.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ...shared.config.settings import FaceSettings
from ..encoders.inference import split_on_oom
from ..encoders.transfer import HostCopy, stack_on_device, to_device
from ..media.video_reader import RgbImage
from .clips import Clip, ClipBuffers, ClipEncoder
from .config import FaceCrop
from .cropping import cut_face, face_region, resize_faces
from .detector import DetectedFace, FaceDetector
from .tracker import FrameSample, Span, Track

DETECTION_BATCH = {"cpu": 1, "cuda": 64}
"""Key frames given to the detector at once. Eight would be a tenth faster on a CPU, but then the boxes of an image
depend on the others by some 1e-4 pixels, and the last bit of an embedding on the rest of its chunk."""

MAX_WAITING_BYTES = 1 << 30
"""Bytes of frames, key frames and those between, that wait for the detector: it gets fewer of large ones at once."""

MAX_PREPARED_BYTES = 256 << 20
"""Bytes of images that wait for the encoder: it gets fewer of large ones at once."""

IN_FLIGHT = {"cpu": 0, "cuda": 1}
"""Batches of the encoder that a GPU computes while the next one is prepared."""


class ImageEncoder(Protocol):
    """A frozen network: images in, one embedding each out.

    Attributes:
        width: numbers per embedding, d_v.
        size: side of the square images that it takes, in pixels.
        device: device of the network.
    """

    width: int
    size: int
    device: torch.device

    def prepare(self, image: RgbImage) -> torch.Tensor:
        """Convert a whole image (h, w, 3) to the network's input (3, h', w')."""
        ...

    def prepare_face(self, face: torch.Tensor) -> torch.Tensor:
        """Convert a face (3, size, size), 0 to 255, to the network's input."""
        ...

    def prepare_on_device(self, pixels: torch.Tensor, *, faces: bool) -> torch.Tensor:
        """Convert images on the device as `prepare` (n, h, w, 3), uint8, or `faces` as `prepare_face`."""
        ...

    def start(self, batch: torch.Tensor) -> HostCopy:
        """Start to encode images (n, 3, h, w) on the device; the result are embeddings (n, d_v)."""
        ...

    def encode(self, prepared: Sequence[torch.Tensor]) -> NDArray[np.float32]:
        """Embeddings (n, d_v) of n prepared images of one shape."""
        ...


@dataclass(frozen=True, kw_only=True)
class FaceExtractor:
    """Detector and encoder of a face stream, with its settings.

    Attributes:
        detector: None where the region is not the face.
        encoder: the network that embeds faces or whole images.
        settings: settings of the stream.
        crop: how faces are cut.
        batch: number of images encoded together.
        on_device: resize the images of a batch on the encoder's device, instead of each where it was decoded.
    """

    detector: FaceDetector | None
    encoder: ImageEncoder
    settings: FaceSettings
    crop: FaceCrop
    batch: int
    on_device: bool = False

    @property
    def size(self) -> int:
        """Side of a face, in pixels."""
        return self.settings.size or self.encoder.size

    def prepare(self, image: RgbImage, face: DetectedFace | None) -> torch.Tensor:
        """Convert an image, or the face in it, to what `start` takes."""
        if self.on_device:
            # A copy: the region would keep its frame in memory.
            region = image if face is None else face_region(image, face.box, self.crop).copy()
            return torch.from_numpy(np.require(region, None, ["C", "W"]))
        if face is None:
            return self.encoder.prepare(image)
        return self.encoder.prepare_face(cut_face(image, face.box, size=self.size, crop=self.crop))

    def start(self, prepared: Sequence[torch.Tensor]) -> HostCopy:
        """Start to encode prepared images; on a CPU of one shape."""
        device = self.encoder.device
        if not self.on_device:
            return self.encoder.start(to_device(torch.stack(list(prepared)), device))
        if self.settings.region == "face":
            faces = resize_faces(prepared, size=self.size, crop=self.crop, device=device)
            return self.encoder.start(self.encoder.prepare_on_device(faces, faces=True))
        whole = stack_on_device([image.numpy() for image in prepared], device)
        return self.encoder.start(self.encoder.prepare_on_device(whole, faces=False))


class FaceBatches:
    """Fills the tracks of utterances from their frames, a batch at a time.

    On a CPU the embedding of an image is bit-identical regardless of the rest of its batch: if a file is damaged, or a
    worker dies, the rest of the chunk gets the values that the whole chunk would have got.
    """

    def __init__(self, extractor: FaceExtractor) -> None:
        self._extractor = extractor
        self._device = extractor.encoder.device.type
        self._detection_batch = DETECTION_BATCH[extractor.detector.device.type] if extractor.detector else 0
        self._spans: list[Span] = []
        self._waiting_bytes = 0
        self._prepared: list[tuple[Track, list[int], torch.Tensor]] = []
        self._prepared_bytes = 0
        self._running: deque[tuple[list[tuple[Track, list[int]]], list[HostCopy]]] = deque()
        frames = extractor.encoder.frames if isinstance(extractor.encoder, ClipEncoder) else 1
        self._clips = ClipBuffers(frames) if frames > 1 else None
        self._clip_frames = frames
        self._batch = max(1, extractor.batch // frames)

    def push(self, track: Track, sample: FrameSample) -> None:
        """Add the next frame of an utterance; positions ascend."""
        track.decoded += 1
        if self._extractor.detector is None:
            self._prepare(track, sample, None)
            return
        self._hold(track.add_frame(sample, self._extractor.settings.detect_stride))
        self._waiting_bytes += sample.image.nbytes
        if len(self._spans) >= self._detection_batch or self._waiting_bytes > MAX_WAITING_BYTES:
            self._detect()

    def end(self, track: Track) -> None:
        """Declare that no more frames of this utterance come."""
        self._hold(track.flush_span())
        track.ended = True
        if not self._spans:
            self._close_clips(ended=True)

    def finish(self) -> None:
        """Process the rest of the queues."""
        self._detect()
        self._close_clips(ended=False)
        self._encode()
        while self._running:
            self._collect()

    def _hold(self, span: Span | None) -> None:
        if span is not None:
            self._spans.append(span)
            span.track.pending += len(span.samples)

    def _detect(self) -> None:
        spans = self._spans
        self._spans = []
        self._waiting_bytes = 0
        key_faces = self._detect_faces([span.key_image for span in spans]) if spans else []
        between = self._detect_between(spans, key_faces)
        for number, (span, candidates) in enumerate(zip(spans, key_faces, strict=True)):
            track = span.track
            known = between.get(number)
            faces = track.interpolate(span, candidates, partial(self._detect_faces, known=known))
            for sample, face in zip(span.samples, faces, strict=True):
                track.pending -= 1
                if face is not None:
                    height, width = sample.image.shape[:2]
                    track.boxes[sample.position] = face.box / (width, height, width, height)
                    self._prepare(track, sample, face)
        self._close_clips(ended=True)

    def _detect_between(
        self, spans: Sequence[Span], key_faces: Sequence[Sequence[DetectedFace]]
    ) -> dict[int, list[list[DetectedFace]]]:
        """The faces in the frames between key frames, by number of the span, where tracking will ask for them.

        All together, as far as that is known in advance. On a CPU this gains nothing, and changes the last bits.
        """
        if self._detection_batch <= 1:
            return {}
        before: dict[int, Sequence[DetectedFace]] = {}
        wanted = []
        for number, (span, candidates) in enumerate(zip(spans, key_faces, strict=True)):
            if span.track.will_detect(span, before.get(id(span.track)), candidates):
                wanted.append(number)
            before[id(span.track)] = candidates
        images = [sample.image for number in wanted for sample in spans[number].samples[:-1]]
        faces = iter(
            face
            for begin in range(0, len(images), self._detection_batch)
            for face in self._detect_faces(images[begin : begin + self._detection_batch])
        )
        return {number: list(islice(faces, len(spans[number].samples) - 1)) for number in wanted}

    def _detect_faces(
        self, images: Sequence[RgbImage], known: list[list[DetectedFace]] | None = None
    ) -> list[list[DetectedFace]]:
        """All faces of each image, if not `known`; images of one size go through the detector together."""
        assert self._extractor.detector is not None
        if known is not None:
            return known
        faces: list[list[DetectedFace]] = [[] for _ in images]
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for number, image in enumerate(images):
            by_shape.setdefault(image.shape, []).append(number)
        for numbers in by_shape.values():
            detected = self._extractor.detector.detect([images[number] for number in numbers])
            for number, image_faces in zip(numbers, detected, strict=True):
                faces[number] = image_faces
        return faces

    def _prepare(self, track: Track, sample: FrameSample, face: DetectedFace | None) -> None:
        prepared = self._extractor.prepare(sample.image, face)
        track.pending += 1
        if self._clips is None:
            self._add(track, [sample.position], prepared)
        else:
            self._add_clips(self._clips.add(track, sample.position, prepared))

    def _close_clips(self, *, ended: bool) -> None:
        if self._clips is not None:
            self._add_clips(self._clips.close(ended=ended))

    def _add_clips(self, clips: Iterable[Clip]) -> None:
        for clip in clips:
            self._add(clip.track, clip.positions, clip.pixels)

    def _add(self, track: Track, positions: list[int], prepared: torch.Tensor) -> None:
        """Add an image, or a clip, to the next batch; `positions` are its frames."""
        regions = self._extractor.on_device and self._extractor.settings.region == "face"
        if self._prepared and not regions and self._prepared[0][2].shape != prepared.shape:
            self._encode()
        self._prepared.append((track, positions, prepared))
        self._prepared_bytes += prepared.nbytes
        if len(self._prepared) == self._batch or self._prepared_bytes > MAX_PREPARED_BYTES:
            self._encode()

    def _encode(self) -> None:
        prepared = self._prepared
        self._prepared = []
        self._prepared_bytes = 0
        if not prepared:
            return
        tensors = [tensor for _, _, tensor in prepared]
        if self._device == "cpu":
            # Always a full batch: libraries choose their kernels by the shape, and with them the last bits.
            tensors += tensors[-1:] * (self._batch - len(tensors))
        remedy = "lower extract.batch_images or extract.face.size"
        copies = split_on_oom(lambda batch: [self._extractor.start(batch)], tensors, remedy=remedy)
        self._running.append(([(track, positions) for track, positions, _ in prepared], copies))
        while len(self._running) > IN_FLIGHT[self._device]:
            self._collect()

    def _collect(self) -> None:
        """Wait for the oldest batch that the encoder computes, and store its embeddings."""
        frames, copies = self._running.popleft()
        embeddings = (values for copy in copies for values in copy.numpy())
        for (track, positions), values in zip(frames, embeddings, strict=False):
            for position in positions:
                track.set_embedding(position, values if self._clips is None else values[position % self._clip_frames])
