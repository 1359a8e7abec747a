"""Frames of a video: which ones an utterance needs, decoded in one sequential pass and cropped.

A file is always decoded from its first frame on. With B-frames every seek of every available library silently returns
wrong frames (docs/decisions.md).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...shared.errors import MediaError
from ...shared.timing import Seconds, face_count, face_times, shown_frames
from ...shared.utterance import Box
from .decord_video import MAX_DECORD_BYTES, open_decord
from .probe import Probe, probe
from .pyav_video import PyavVideo
from .video_reader import Backend, RgbImage, VideoReader

FULL: Box = (0.0, 0.0, 1.0, 1.0)

MAX_OVERRUN: Seconds = 1.0
"""How much later than its video an utterance may end."""

MAX_FRAME_DISTANCE: Seconds = 60.0
"""Maximum of seconds per frame of a video; beyond, one of its time stamps is damaged."""

MAX_SEGMENT: Seconds = 86_400.0


class NoVideoTrackError(Exception):
    """The file is intact but has no video track; the utterance is kept without it."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Part of a video, from `start` to `end` (None: of the file), and how many frames per second of it are sampled."""

    start: Seconds | None
    end: Seconds | None
    fps: float


def open_video(path: Path, *, backend: Backend = "auto") -> "Video":
    """Open a video with decord or PyAV; both return the same frames.

    Args:
        path: the video file.
        backend: "auto" takes decord, except where it is not installed, does not support the codec, would use too much
            memory, the file is truncated, or its frames have to be turned, mirrored or scaled; "pyav" always takes
            PyAV.

    Raises:
        MediaError: the file cannot be decoded.
        NoVideoTrackError: the file has no video track.
    """
    header = probe(path)
    if header.video_codec is None:
        raise NoVideoTrackError
    video = PyavVideo(path)
    reader: VideoReader | None = None
    if backend == "auto" and header.decoded_bytes <= MAX_DECORD_BYTES and video.is_plain():
        reader = open_decord(path, min_frames=header.video_frames, timeline=video)
    return Video(reader or video, header)


class Video:
    """An open video with its timeline.

    Attributes:
        reader: the decoder.
        shown_at: presentation time of each frame on the file's clock, in seconds, ascending, (frames,).
        seconds: end of the last frame.
        declared: end of the video by the file's header, `seconds` where that is the same; None if unknown.
    """

    def __init__(self, reader: VideoReader, header: Probe) -> None:
        self.reader = reader
        # The video may begin later than the audio; both are on the file's clock.
        self.shown_at = reader.times + max(0.0, header.video_start)
        self.seconds: Seconds = float(self.shown_at[0] + reader.end)
        frame_seconds = float(np.median(np.diff(reader.times))) if len(reader.times) > 1 else 0.0
        declared = header.video.end(self.seconds, self.seconds if reader.file_end is None else reader.file_end)
        # Headers round; a smaller difference is no truncation.
        if declared is not None and declared <= self.seconds + max(0.05, 2 * frame_seconds):
            declared = self.seconds
        self.declared = declared

    def plan(self, segment: Segment) -> NDArray[np.int64]:
        """Index of the frame that the video shows at each sampling time of a segment, -1 for none, (t_v,).

        Raises MediaError if the file's frames cannot fill the segment by far.
        """
        start = segment.start or 0.0
        end = self.seconds if segment.end is None else segment.end
        # A label may end a little after its video; one that ends a year after it must not fill the memory.
        end = min(end, max(self.seconds, start) + MAX_OVERRUN)
        if end - start > min(MAX_SEGMENT, MAX_FRAME_DISTANCE * (len(self.shown_at) + 1)):
            raise MediaError(f"expected a video of {end - start:.0f} s, got only {len(self.shown_at)} frames")
        times = face_times(start, max(0.0, end - start), segment.fps)
        if times[0] > end >= start:
            # Shorter than half an interval: its only sample is the middle.
            times[0] = (start + end) / 2
        return shown_frames(times, self.shown_at, self.seconds)

    def expected_frames(self, segment: Segment, plan: NDArray[np.int64]) -> int | None:
        """Number of sampling times for which the header declares a frame; None if it declares no duration.

        Args:
            segment: the part of the video.
            plan: the frames of the segment, by `plan`.
        """
        present = int(np.count_nonzero(plan >= 0))
        if self.declared is None:
            return None
        start = segment.start or 0.0
        end = self.declared if segment.end is None else min(segment.end, self.declared)
        if end <= max(start, self.seconds):
            return present
        # The file is truncated.
        before = int(np.argmax(plan >= 0)) if present else 0
        return max(present, face_count(end - start, segment.fps) - before)

    def crops(self, plans: Sequence[NDArray[np.int64]], boxes: Sequence[Box]) -> Iterator[tuple[int, int, RgbImage]]:
        """Decode once and yield the frames of several segments, in the order of the video.

        Args:
            plans: the frames of each segment, by `plan`.
            boxes: the region of each segment's frames, (x0, y0, x1, y1) in fractions of the frame.

        Yields:
            Number of the segment, position in its plan, cropped image (h, w, 3).

        Raises:
            DecodeFallbackError: decord failed; open the video again with backend="pyav".
        """
        wanted: dict[int, list[tuple[int, int]]] = {}
        for number, frames in enumerate(plans):
            for position, frame in enumerate(frames):
                if frame >= 0:
                    wanted.setdefault(int(frame), []).append((number, position))
        for index, image in self.reader.decode(wanted):
            for number, position in wanted[index]:
                yield number, position, _crop(image, boxes[number])


def _crop(image: RgbImage, box: Box) -> RgbImage:
    height, width = image.shape[:2]
    sides = (width, height, width, height)
    x0, y0, x1, y1 = (round(fraction * side) for fraction, side in zip(box, sides, strict=True))
    x1 = max(x1, x0 + 1)
    y1 = max(y1, y0 + 1)
    return np.ascontiguousarray(image[min(y0, height - 1) : y1, min(x0, width - 1) : x1])
