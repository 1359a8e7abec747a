"""One frame per utterance, decoded again: the speaker's part of the frame, and the face that was cut out of it."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from ...shared.config.settings import FaceSettings
from ...shared.errors import StoreError
from ...shared.files.unicode_names import locate
from ...shared.store.feature_store import StreamInfo
from ...shared.text import quoted
from ...shared.timing import Seconds, face_times
from ...shared.utterance import Utterance
from ..face.config import FaceCrop
from ..face.cropping import cut_face
from ..face.detector import FaceDetector, overlap
from ..media.media_group import as_media_error
from ..media.video import FULL, NoVideoTrackError, Segment, Video, open_video
from ..media.video_reader import DecodeFallbackError, RgbImage
from .sheet_layout import thumbnail

DEFAULT_FACE_SIZE = 160
"""Side of FaceNet's input, in pixels; an encoder with another one gets the same square at another resolution."""

MAX_CROP_SIDE = 2048
"""Pixels. Of a larger square every second or third pixel is read, since a face is small on the sheet."""

SAME_FACE = 0.4
"""A detected face whose box overlaps with the stored one by more than this is the encoded face."""

CROP_KEYS = ("size", "crop_shape", "margin", "min_face_fraction", "min_probability")
"""Keys of a stream's configuration that show which faces are detected, and how they are cut."""


@dataclass(frozen=True, kw_only=True)
class PreviewRequest:
    """Stored data of an utterance, and the frame of it to show.

    Attributes:
        utterance: the utterance.
        position: number of the frame to show; None if it has no frames.
        box: its face as (x0, y0, x1, y1) in fractions of the speaker's part of the frame, (4,); None without a face.
        frames: number of frames.
        valid: number of valid frames.
        note: note of the entry.
    """

    utterance: Utterance
    position: int | None
    box: NDArray[np.float32] | None
    frames: int
    valid: int
    note: str


@dataclass(frozen=True, kw_only=True)
class FramePreview:
    """A decoded frame.

    Attributes:
        picture: the frame with the face's box, small enough for the sheet.
        face: the face as the encoder gets it.
        others: number of other faces in the frame.
        seconds: its time in the file.
        problem: why there is no picture.
    """

    picture: Image.Image | None = None
    face: Image.Image | None = None
    others: int = 0
    seconds: Seconds | None = None
    problem: str = ""


def group_by_video(requests: Iterable[PreviewRequest]) -> dict[str, list[PreviewRequest]]:
    """Requests by video, without those that have no frame or no video."""
    videos: dict[str, list[PreviewRequest]] = {}
    for request in requests:
        if request.position is not None and request.utterance.video:
            videos.setdefault(request.utterance.video, []).append(request)
    return videos


def previews(
    root: Path,
    video: str,
    requests: Sequence[PreviewRequest],
    stream: StreamInfo,
    detector: FaceDetector | None = None,
) -> dict[str, FramePreview]:
    """Decode the requested frames of one video, in one pass.

    Args:
        root: the corpus root.
        video: path of the video, relative to it.
        requests: requests of this video, each with a position.
        stream: the face stream.
        detector: finds the other faces, which are not stored; None: only the encoded face is drawn.

    Returns:
        Previews by utterance id; those that could not be decoded have a `problem`.
    """
    result = {request.utterance.id: FramePreview(problem="this frame cannot be decoded") for request in requests}
    try:
        # Reduced at once: many frames of full size would not fit into memory.
        for request, image in _decode(locate(root, video), requests, stream):
            result[request.utterance.id] = _preview(request, image, stream, detector)
    except NoVideoTrackError:
        return {name: FramePreview(problem="no video track") for name in result}
    except Exception as error:
        problem = FramePreview(problem=f"{video}: {as_media_error(error)}")
        return {name: preview if preview.picture else problem for name, preview in result.items()}
    return result


def _decode(
    path: Path, requests: Sequence[PreviewRequest], stream: StreamInfo
) -> Iterator[tuple[PreviewRequest, RgbImage]]:
    """Decode the requested frames; with PyAV from the start again where decord fails, as in extraction."""
    try:
        yield from _crops(open_video(path), requests, stream)
    except DecodeFallbackError:
        yield from _crops(open_video(path, backend="pyav"), requests, stream)


def _crops(
    video: Video, requests: Sequence[PreviewRequest], stream: StreamInfo
) -> Iterator[tuple[PreviewRequest, RgbImage]]:
    whole = stream.config.get("region") == "frame"
    boxes = [FULL if whole else request.utterance.box for request in requests]
    plans = [_plan(video, request, stream) for request in requests]
    for number, _, image in video.crops(plans, boxes):
        yield requests[number], image


def _plan(video: Video, request: PreviewRequest, stream: StreamInfo) -> NDArray[np.int64]:
    """The plan of extraction with all frames left out but the requested one, and ending with it."""
    utterance = request.utterance
    assert request.position is not None
    # No further: an untrusted file may declare a million frames per second.
    end = (utterance.start or 0.0) + (request.position + 1) / stream.rate_hz
    end = min(end, video.seconds if utterance.end is None else utterance.end)
    plan = video.plan(Segment(start=utterance.start, end=end, fps=stream.rate_hz))
    return np.where(np.arange(len(plan)) == request.position, plan, -1)


def _preview(
    request: PreviewRequest, image: RgbImage, stream: StreamInfo, detector: FaceDetector | None
) -> FramePreview:
    assert request.position is not None
    start = request.utterance.start or 0.0
    times = face_times(start, (request.position + 1) / stream.rate_hz, stream.rate_hz)
    face = None if request.box is None else face_image(image, request.box, stream)
    others = [] if detector is None else _other_faces(image, request.box, detector)
    return FramePreview(
        picture=thumbnail(image, request.box, others),
        face=face,
        others=len(others),
        seconds=float(times[request.position]),
    )


def _other_faces(image: RgbImage, box: NDArray[np.float32] | None, detector: FaceDetector) -> list[NDArray[np.float32]]:
    """The boxes of an image's faces in fractions of it, without the encoded one, whose box is given."""
    height, width = image.shape[:2]
    (faces,) = detector.detect([image])
    boxes = [np.asarray(face.box / (width, height, width, height), np.float32) for face in faces]
    return [other for other in boxes if box is None or overlap(other, box) <= SAME_FACE]


def stream_detector(stream: StreamInfo) -> FaceDetector:
    """The detector of a face stream; raises StoreError as `crop_settings`."""
    settings = crop_settings(stream)
    return FaceDetector(
        min_face_fraction=settings.min_face_fraction,
        min_probability=settings.min_probability,
        device=torch.device("cpu"),
    )


def crop_settings(stream: StreamInfo) -> FaceSettings:
    """The settings CROP_KEYS of a stream; raises StoreError for values that extraction does not accept."""
    values = {name: stream.config[name] for name in CROP_KEYS if stream.config.get(name) is not None}
    try:
        return FaceSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise StoreError(
            f"the configuration of {quoted(stream.name)} is not one of foal's: {first['loc'][0]}: "
            f"{first['msg'][:1].lower()}{first['msg'][1:]}, got {quoted(first['input'])}; ask for the file again"
        ) from None


def face_image(image: RgbImage, box: NDArray[np.float32], stream: StreamInfo) -> Image.Image:
    """Cut out a face as for the encoder.

    Args:
        image: the speaker's part of the frame (h, w, 3).
        box: the face as (x0, y0, x1, y1) in fractions of the image, (4,).
        stream: the face stream.
    """
    settings = crop_settings(stream)
    # Configurations without a shape are older than stretched faces.
    crop = FaceCrop(shape=settings.crop_shape or "square", margin=settings.margin or 0.0)
    height, width = image.shape[:2]
    pixels = box * np.array([width, height, width, height], np.float32)
    side = float(max(pixels[2] - pixels[0], pixels[3] - pixels[1])) * (1 + crop.margin)
    step = max(1, math.ceil(side / MAX_CROP_SIDE))
    size = settings.size or DEFAULT_FACE_SIZE
    face = cut_face(image[::step, ::step], pixels / np.float32(step), size=size, crop=crop)
    return Image.fromarray(face.round().clamp(0, 255).byte().permute(1, 2, 0).numpy())
