"""One moment of an utterance, decoded again: the person's part of the picture and the face that was cut out of it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..shared.index import Modality
from ..shared.timing import Seconds, face_times
from ..shared.utterance import Utterance
from .detect import cut_face
from .part import as_media_error
from .picture import FULL, NoVideoTrackError, Picture, Stretch, Video, VideoDamagedError
from .sheet import fitted

USUAL_SIZE = 160
"""FaceNet's; an encoder of another size of its own gets the same square in more or fewer pixels."""


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


def glimpses(root: Path, video: str, looks: Sequence[Look], modality: Modality) -> dict[str, Glimpse]:
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


def _pictures(path: Path, looks: Sequence[Look], modality: Modality) -> Iterator[tuple[Look, Picture]]:
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


def _plan(video: Video, look: Look, modality: Modality) -> NDArray[np.int64]:
    """The plan of extraction with all pictures left out but the one."""
    utterance = look.utterance
    plan = video.plan(Stretch(start=utterance.start, end=utterance.end, fps=modality.rate_hz))
    return np.where(np.arange(len(plan)) == look.position, plan, -1)


def _glimpse(look: Look, picture: Picture, modality: Modality) -> Glimpse:
    assert look.position is not None
    start = look.utterance.start or 0.0
    seconds = float(face_times(start, (look.position + 1) / modality.rate_hz, modality.rate_hz)[look.position])
    face = None if look.box is None else face_image(picture, look.box, modality)
    return Glimpse(picture=fitted(picture, look.box), face=face, seconds=seconds)


def face_image(picture: Picture, box: NDArray[np.float32], modality: Modality) -> Image.Image:
    """The face as the encoder gets it; `box` in fractions of the picture (h, w, 3)."""
    height, width = picture.shape[:2]
    pixels = box * np.array([width, height, width, height], np.float32)
    size = modality.config.get("size") or USUAL_SIZE
    face = cut_face(picture, pixels, size=size, margin=float(modality.config.get("margin", 0.0)))
    return Image.fromarray(face.round().clamp(0, 255).byte().permute(1, 2, 0).numpy())
