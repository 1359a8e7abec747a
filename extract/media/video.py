"""Pictures from disk: a video decoded once, from its first frame on, the wanted frames cut out.

Never by seeking: with B-frames every seek of every library at hand silently gives wrong frames (docs/decisions.md).
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...shared.errors import MediaError
from ...shared.timing import MAX_MEDIA_SECONDS, Seconds, face_count, face_times, nearest_frames
from ...shared.utterance import Box
from .probe import probe
from .pyav_video import PatientVideo

Picture = NDArray[np.uint8]

FULL: Box = (0.0, 0.0, 1.0, 1.0)

DECORD_HOLDS = 128 << 20
"""Bytes of decoded pictures above which a video goes through PyAV: decord decodes as far ahead as it likes."""

_SAME_TIME: Seconds = 1e-3
_BEYOND: Seconds = 1.0

_SHOWN: Seconds = 60.0
"""A video lasts no longer than this for each of its pictures, else one of its time stamps is damaged."""

_DAY: Seconds = 86_400.0

try:
    import decord

    _DECORD_ERRORS: tuple[type[Exception], ...] = (RuntimeError, StopIteration, decord.DECORDError)
except ImportError:
    # No wheels for ARM: PyAV decodes everything there.
    decord, _DECORD_ERRORS = None, ()


class NoVideoTrackError(Exception):
    """The file is in order but holds no picture; the utterance lives on without it."""


class VideoDamagedError(Exception):
    """decord gave up in the middle of a video; PyAV may go on."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """What is wanted of a video: `fps` pictures a second from start to end, both in seconds."""

    start: Seconds | None
    end: Seconds | None
    fps: float


class Video:
    """An open video: when each of its frames is shown, and those frames in that order, once."""

    def __init__(self, path: Path, *, patiently: bool = False) -> None:
        """Open it; `patiently` with PyAV instead of decord, as is done anyway where decord would take too much memory
        or does not know the codec. Both give the same pictures.

        Raises MediaError, or NoVideoTrackError.
        """
        declared = probe(path)
        if declared.video_codec is None:
            raise NoVideoTrackError
        self._reader: Any = None if patiently or declared.decoded_bytes > DECORD_HOLDS else _open_decord(path)
        if self._reader is not None and declared.video_frames > len(self._reader):
            # Cut off; of the last, torn packet decord makes a second copy of the picture before.
            self._reader = None
        if self._reader is None:
            self._patient = PatientVideo(path)
            times = self._patient.times
        else:
            times = _presentation_times(self._reader)
        # A picture may begin later than the sound; both are on the file's clock.
        self.shown_at = times + max(0.0, declared.video_start)
        usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
        self.seconds: Seconds = float(self.shown_at[-1]) + usual
        file_ends = self.seconds if self._reader is not None else self._patient.file_ends
        ends = declared.video.end(self.seconds, file_ends)
        self.declared = ends if ends is None or ends > self.seconds + max(0.05, 2 * usual) else self.seconds

    def looks(self, stretch: Stretch, plan: NDArray[np.int64]) -> int | None:
        """How many of a stretch's times the file declares a picture for; None where it declares nothing."""
        there = int(np.count_nonzero(plan >= 0))
        if self.declared is None:
            return None
        start, end = stretch.start or 0.0, self.declared if stretch.end is None else min(stretch.end, self.declared)
        if end <= max(start, self.seconds):
            return there
        # The file is cut off.
        before = int(np.argmax(plan >= 0)) if there else 0
        return max(there, face_count(end - start, stretch.fps) - before)

    def plan(self, stretch: Stretch) -> NDArray[np.int64]:
        """The frame nearest to each of the stretch's times, -1 where the video shows nothing then.

        Raises MediaError for a stretch that no few pictures can fill.
        """
        start = stretch.start or 0.0
        end = self.seconds if stretch.end is None else stretch.end
        # A label may end a little after its video; one that ends a year after it must not fill the memory.
        end = min(end, max(self.seconds, start) + _BEYOND)
        if end - start > min(_DAY, _SHOWN * (len(self.shown_at) + 1)):
            raise MediaError(f"expected a video, got {len(self.shown_at)} pictures for {end - start:.0f} s")
        return nearest_frames(face_times(start, max(0.0, end - start), stretch.fps), self.shown_at)

    def pictures(self, plans: Sequence[NDArray[np.int64]], boxes: Sequence[Box]) -> Iterator[tuple[int, int, Picture]]:
        """Decode once; give (stretch, position in its plan, picture (h, w, 3) RGB) in the order of the video.

        Raises VideoDamagedError where decord gives up, having dropped what it had decoded ahead; opened patiently, the
        video gives whatever is left of it.
        """
        wanted: dict[int, list[tuple[int, int]]] = {}
        for number, frames in enumerate(plans):
            for position, frame in enumerate(frames):
                if frame >= 0:
                    wanted.setdefault(int(frame), []).append((number, position))
        for index, whole in self._decoded(wanted) if self._reader is not None else self._decoded_patiently(wanted):
            for number, position in wanted[index]:
                yield number, position, _cut_out(whole, boxes[number])

    def _decoded(self, wanted: Collection[int]) -> Iterator[tuple[int, Picture]]:
        """The wanted frames and their numbers, reading on from the first frame."""
        try:
            for index in range(max(wanted, default=-1) + 1):
                frame = self._reader.next()
                if index in wanted:
                    yield index, frame.asnumpy()
        except _DECORD_ERRORS:
            raise VideoDamagedError from None

    def _decoded_patiently(self, wanted: Collection[int]) -> Iterator[tuple[int, Picture]]:
        """The same with PyAV, as far as they can be decoded."""
        last = -1
        for index, whole in self._patient.decode(wanted):
            if index > last:
                yield index, whole
            last = max(last, index)


def _open_decord(path: Path) -> Any:
    """Decord's reader, or None where there is no decord or it does not know the codec."""
    if decord is None:
        return None
    decord.logging.set_level(decord.logging.QUIET)
    try:
        # num_threads=0, the default, fails on VP9; more than one gains nothing beside the face detector.
        reader = decord.VideoReader(str(path.absolute()), ctx=decord.cpu(0), num_threads=1)
        return reader if len(reader) else None
    except _DECORD_ERRORS:
        return None


def _presentation_times(reader: Any) -> NDArray[np.float64]:
    """Seconds from the time of the first frame that is shown, ascending, (frames,)."""
    count = len(reader)
    times = np.asarray(reader.get_frame_timestamp(np.arange(count)), np.float64)[:, 0]
    # Beyond are the fillers of containers without any (AVI with B-frames begins at -3e17).
    if np.isfinite(times).all() and np.abs(times).max() < MAX_MEDIA_SECONDS and (np.diff(times) > 0).all():
        # Frames before the cut of a video cut without re-encoding: decord lists their times but never gives them.
        return times[times >= -_SAME_TIME]
    fps = float(reader.get_avg_fps())
    if not fps > 0:
        raise MediaError("the video says neither when its frames are shown nor how many a second")
    return np.arange(count) / fps


def _cut_out(picture: Picture, box: Box) -> Picture:
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = (round(part * side) for part, side in zip(box, (width, height, width, height), strict=True))
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    return np.ascontiguousarray(picture[min(y0, height - 1) : y1, min(x0, width - 1) : x1])
