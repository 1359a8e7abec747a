"""One moment of an utterance, decoded again: the person's part of the picture and the face that was cut out of it."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from ...shared.config.settings import FaceSettings
from ...shared.errors import StoreError
from ...shared.store.feature_store import StreamInfo
from ...shared.text import quoted
from ...shared.timing import Seconds, face_times
from ...shared.utterance import Utterance
from ..face.detector import cut_face
from ..media.media_group import as_media_error
from ..media.video import FULL, NoVideoTrackError, Picture, Stretch, Video, VideoDamagedError
from .sheet_layout import fitted

USUAL_SIZE = 160
"""FaceNet's; an encoder of another size of its own gets the same square in more or fewer pixels."""

BEYOND = 2
"""A face may reach out of its picture, never so many times the picture's longer side: MTCNN's boxes stay within one."""

LARGEST_CUT = 2048
"""Pixels a side: of larger ones every second or third pixel will do, since a face is small on the sheet."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is stored of an utterance, and the `position` of the frame to look at (None: it has none).

    `box` is where its face was, as fractions of the person's part of the picture.
    """

    utterance: Utterance
    position: int | None
    box: NDArray[np.float32] | None
    frames: int
    valid: int
    note: str


@dataclass(frozen=True, kw_only=True)
class Glimpse:
    """What is seen there: the picture with its box, small enough for the sheet, the face, or why there is nothing."""

    picture: Image.Image | None = None
    face: Image.Image | None = None
    seconds: Seconds | None = None
    problem: str = ""


def media_of(looks: Iterable[Look]) -> dict[str, list[Look]]:
    """The looks of which there is something to be decoded, by their video."""
    videos: dict[str, list[Look]] = {}
    for look in looks:
        if look.position is not None and look.utterance.video:
            videos.setdefault(look.utterance.video, []).append(look)
    return videos


def glimpses(root: Path, video: str, looks: Sequence[Look], modality: StreamInfo) -> dict[str, Glimpse]:
    """What is seen of the utterances of one video, by id; the video is decoded once and kept in no pieces."""
    found = {look.utterance.id: Glimpse(problem="this picture cannot be decoded") for look in looks}
    try:
        # Reduced at once: of many large pictures not even the sheet's could be held.
        for look, picture in _pictures(root / video, looks, modality):
            found[look.utterance.id] = _glimpse(look, picture, modality)
    except NoVideoTrackError:
        return {name: Glimpse(problem="no video track") for name in found}
    except Exception as error:
        problem = f"{video}: {as_media_error(error)}"
        return {name: seen if seen.picture else Glimpse(problem=problem) for name, seen in found.items()}
    return found


def _pictures(path: Path, looks: Sequence[Look], modality: StreamInfo) -> Iterator[tuple[Look, Picture]]:
    """The pictures looked at; from the start again, and patiently, where decord gives up, as in extraction."""
    whole = modality.config.get("view") == "frame"
    boxes = [FULL if whole else look.utterance.box for look in looks]
    for patiently in (False, True):
        video = Video(path, patiently=patiently)
        try:
            for number, _, picture in video.pictures([_plan(video, look, modality) for look in looks], boxes):
                yield looks[number], picture
            return
        except VideoDamagedError:
            continue


def _plan(video: Video, look: Look, modality: StreamInfo) -> NDArray[np.int64]:
    """The plan of extraction up to the one picture, with all others left out."""
    utterance = look.utterance
    assert look.position is not None
    # No further: a stranger's file may say that it has a million pictures a second.
    looked_at = (utterance.start or 0.0) + (look.position + 1) / modality.rate_hz
    end = min(looked_at, video.seconds if utterance.end is None else utterance.end)
    plan = video.plan(Stretch(start=utterance.start, end=end, fps=modality.rate_hz))
    return np.where(np.arange(len(plan)) == look.position, plan, -1)


def _glimpse(look: Look, picture: Picture, modality: StreamInfo) -> Glimpse:
    assert look.position is not None
    if look.box is not None and not _can_be_a_face(look.box, picture):
        x0, y0, x1, y1 = look.box
        return Glimpse(problem=f"the box stored is none of a face in this picture: {x0:g}, {y0:g}, {x1:g}, {y1:g}")
    start = look.utterance.start or 0.0
    seconds = float(face_times(start, (look.position + 1) / modality.rate_hz, modality.rate_hz)[look.position])
    face = None if look.box is None else face_image(picture, look.box, modality)
    return Glimpse(picture=fitted(picture, look.box), face=face, seconds=seconds)


def _can_be_a_face(box: NDArray[np.float32], picture: Picture) -> bool:
    """Whether a box, in fractions of the picture, can be one of its faces."""
    sides = np.array(picture.shape[1::-1], np.float64)
    first, last = box[:2] * sides, box[2:] * sides
    reach = BEYOND * sides.max()
    return bool((first < last).all() and (first >= -reach).all() and (last <= sides + reach).all())


def cut_settings(modality: StreamInfo) -> FaceSettings:
    """`size` and `margin` with which a stream's faces were cut out; raises StoreError if extraction takes no such."""
    said = {name: modality.config[name] for name in ("size", "margin") if name in modality.config}
    try:
        return FaceSettings.model_validate({"margin": 0.0, **said})
    except ValidationError as error:
        first = error.errors()[0]
        raise StoreError(
            f"the configuration of {quoted(modality.name)} is none that foal extracts with: {first['loc'][0]}: "
            f"{first['msg'][:1].lower()}{first['msg'][1:]}, got {quoted(first['input'])}; ask for the file again"
        ) from None


def face_image(picture: Picture, box: NDArray[np.float32], modality: StreamInfo) -> Image.Image:
    """The face as the encoder gets it; `box` in fractions of the picture (h, w, 3)."""
    cut = cut_settings(modality)
    height, width = picture.shape[:2]
    pixels = box * np.array([width, height, width, height], np.float32)
    side = float(max(pixels[2] - pixels[0], pixels[3] - pixels[1])) * (1 + cut.margin)
    step = max(1, math.ceil(side / LARGEST_CUT))
    face = cut_face(picture[::step, ::step], pixels / np.float32(step), size=cut.size or USUAL_SIZE, margin=cut.margin)
    return Image.fromarray(face.round().clamp(0, 255).byte().permute(1, 2, 0).numpy())
