"""Which track of a container is decoded: the default one of its kind, never a cover picture."""

from typing import Literal

from av.container import InputContainer
from av.stream import Disposition, Stream

PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails
"""Covers and thumbnails: FFmpeg lists them as video tracks."""


def chosen_track(container: InputContainer, kind: Literal["audio", "video"]) -> Stream | None:
    """The track of a kind that is marked as default, else the first one; None if there is none.

    MP4 and Matroska often mark every track. Among several marked ones FFmpeg's choice is taken, the one of the most
    frames and the highest bit rate. Attached pictures are no video tracks.
    """
    tracks = [track for track in container.streams if track.type == kind and not track.disposition & PICTURES]
    marked = [track for track in tracks if track.disposition & Disposition.default]
    if len(marked) > 1:
        best = container.streams.best(kind)
        return next((track for track in marked if best is not None and track.index == best.index), marked[0])
    return next(iter(marked or tracks), None)
