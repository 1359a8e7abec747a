"""Video reader on decord, for short films of one size whose frames are stored as they are shown.

decord decodes ahead without limit and fails at the first damaged frame. It scales the frames of a film that changes its
size to the first size, and knows neither mirrored pictures nor pixels that are not square.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...shared.timing import MAX_MEDIA_SECONDS, STAMP_TOLERANCE
from .video_reader import DecodeFallbackError, RgbImage, VideoReader

MAX_DECORD_BYTES = 128 << 20
"""Bytes of decoded frames above which a video is read with PyAV: decord decodes as far ahead as it likes."""

try:
    import decord

    _DECORD_ERRORS: tuple[type[Exception], ...] = (RuntimeError, StopIteration, decord.DECORDError)
except ImportError:
    # decord has no wheels for ARM: PyAV decodes everything there.
    decord, _DECORD_ERRORS = None, ()


class DecordVideo:
    """A `VideoReader` on decord."""

    def __init__(self, path: Path, reader: Any, timeline: VideoReader) -> None:
        self._path = path
        self._reader = reader
        self.times = timeline.times
        self.end = timeline.end
        self.file_end = timeline.file_end

    def decode(self, wanted: Collection[int]) -> Iterator[tuple[int, RgbImage]]:
        """Yield the wanted frames; raises DecodeFallbackError where decord fails."""
        try:
            # Never by seeking: with B-frames a seek silently returns wrong frames (docs/decisions.md).
            for index in range(max(wanted, default=-1) + 1):
                frame = self._reader.next()
                if index in wanted:
                    yield index, frame.asnumpy()
        except _DECORD_ERRORS:
            raise DecodeFallbackError(self._path) from None


def open_decord(path: Path, *, min_frames: int, timeline: VideoReader) -> DecordVideo | None:
    """Open a video with decord.

    Args:
        path: the video file.
        min_frames: frames that the header declares. With fewer the file is truncated, and decord returns a second copy
            of the frame before its last, incomplete packet.
        timeline: another reader of the file, which knows the times of its frames.

    Returns:
        None where decord is not installed, does not support the codec, reads fewer frames, or at other times.
    """
    if decord is None:
        return None
    decord.logging.set_level(decord.logging.QUIET)
    try:
        # num_threads=0, the default, fails on VP9; more are no faster while the face detector runs.
        reader = decord.VideoReader(str(path.absolute()), ctx=decord.cpu(0), num_threads=1)
        frames = len(reader)
    except _DECORD_ERRORS:
        return None
    if not frames or frames < min_frames or not _same_times(_presentation_times(reader), timeline.times):
        return None
    return DecordVideo(path, reader, timeline)


def _same_times(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    return len(first) == len(second) and bool(np.abs(first - second).max() < STAMP_TOLERANCE)


def _presentation_times(reader: Any) -> NDArray[np.float64]:
    """Seconds relative to the first frame that is shown, ascending, (frames,)."""
    count = len(reader)
    times = np.asarray(reader.get_frame_timestamp(np.arange(count)), np.float64)[:, 0]
    # Containers without time stamps get placeholders beyond MAX_MEDIA_SECONDS (AVI with B-frames begins at -3e17).
    if np.isfinite(times).all() and np.abs(times).max() < MAX_MEDIA_SECONDS and (np.diff(times) > 0).all():
        # In a video cut without re-encoding, decord lists the frames before the cut but never returns them.
        return times[times >= -STAMP_TOLERANCE]
    fps = float(reader.get_avg_fps())
    return np.arange(count) / fps if fps > 0 else np.full(count, np.inf)
