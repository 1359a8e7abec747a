"""Pictures from disk: a video decoded once, from its first frame on, the wanted frames cut out.

Never by seeking: with B-frames every seek of every library at hand silently gives wrong frames (docs/decisions.md).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import decord
import numpy as np
from numpy.typing import NDArray

from ..shared.errors import MediaError
from ..shared.timing import Seconds, face_times, nearest_frames
from ..shared.utterance import Box
from .probe import probe

Picture = NDArray[np.uint8]

_LONGEST: Seconds = 1e6
"""Timestamps beyond this are the fillers of containers without any (AVI with B-frames begins at -3e17)."""

_DECORD_ERRORS = (RuntimeError, decord.DECORDError)


class NoVideoTrackError(Exception):
    """The file is in order but holds no picture; the utterance lives on without it."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """What is wanted of a video: `fps` pictures a second from start to end, both in seconds."""

    start: Seconds | None
    end: Seconds | None
    fps: float


class Video:
    """An open video: when each of its frames is shown, and those frames in that order, once."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises MediaError, or NoVideoTrackError."""
        declared = probe(path)
        if declared.video_codec is None:
            raise NoVideoTrackError
        decord.logging.set_level(decord.logging.QUIET)
        try:
            # num_threads=0, the default, fails on VP9; more than one gains nothing beside the face detector.
            self._reader: Any = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
            # decord counts from the first frame; a picture may begin later than the sound.
            self.shown_at = self._presentation_times() + max(0.0, declared.video_start)
        except _DECORD_ERRORS:
            raise MediaError(
                f"the codec of the video, {declared.video_codec}, cannot be decoded; convert it, for example to H.264"
            ) from None
        self.seconds = self._length(declared.seconds)

    def _presentation_times(self) -> NDArray[np.float64]:
        """Seconds of the file's clock, ascending, (frames,)."""
        count = len(self._reader)
        if count == 0:
            raise MediaError("the video has no frames")
        times = np.asarray(self._reader.get_frame_timestamp(np.arange(count)), np.float64)[:, 0]
        sane = np.isfinite(times).all() and np.abs(times).max() < _LONGEST and (np.diff(times) > 0).all()
        fps = float(self._reader.get_avg_fps())
        if not sane and not fps > 0:
            raise MediaError("the video says neither when its frames are shown nor how many a second")
        return times if sane else np.arange(count) / fps

    def _length(self, declared: Seconds | None) -> Seconds:
        usual = float(np.median(np.diff(self.shown_at))) if len(self.shown_at) > 1 else 0.0
        return max(float(self.shown_at[-1]) + usual, 0.0) or declared or 0.0

    def plan(self, stretch: Stretch) -> NDArray[np.int64]:
        """The frame nearest to each of the stretch's times, -1 where the video shows nothing then."""
        start = stretch.start or 0.0
        end = self.seconds if stretch.end is None else stretch.end
        return nearest_frames(face_times(start, max(0.0, end - start), stretch.fps), self.shown_at)

    def pictures(self, plans: Sequence[NDArray[np.int64]], boxes: Sequence[Box]) -> Iterator[tuple[int, int, Picture]]:
        """Decode once; give (stretch, position in its plan, picture (h, w, 3) RGB) in the order of the video.

        Ends early, without an error, where a damaged video does.
        """
        wanted: dict[int, list[tuple[int, int]]] = {}
        for number, frames in enumerate(plans):
            for position, frame in enumerate(frames):
                if frame >= 0:
                    wanted.setdefault(int(frame), []).append((number, position))
        for frame in range(max(wanted, default=-1) + 1):
            try:
                decoded = self._reader.next()
                whole: Picture | None = decoded.asnumpy() if frame in wanted else None
            except (StopIteration, *_DECORD_ERRORS):
                return
            if whole is not None:
                for number, position in wanted[frame]:
                    yield number, position, _cut_out(whole, boxes[number])


def _cut_out(picture: Picture, box: Box) -> Picture:
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = (round(part * side) for part, side in zip(box, (width, height, width, height), strict=True))
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    return np.ascontiguousarray(picture[min(y0, height - 1) : y1, min(x0, width - 1) : x1])
