"""Video reader on PyAV: decodes all that FFmpeg can, no further than requested, and continues behind damaged frames."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from ...shared.errors import MediaError
from ...shared.timing import STAMP_TOLERANCE, Seconds
from .audio_track import packet_end
from .geometry import UPRIGHT, Projector, orientation, shown_width
from .probe import MAX_PIXELS, MEDIA_ERRORS, first_line, open_container
from .tracks import chosen_track
from .video_reader import RgbImage

MAX_KEY_FRAMES = 8
"""Key frames decoded to find out whether all frames have one size; with more of them, it is not found out."""

_SIZE_IN_EVERY_FRAME = ("vp9", "av1")
"""Codecs in which frames may change their size without a key frame."""


class PyavVideo:
    """A `VideoReader` that decodes no further than requested and continues behind damaged frames."""

    file_end: Seconds | None

    def __init__(self, path: Path) -> None:
        """Read the presentation times without decoding. Raises MediaError."""
        self._path = path
        file_end: Seconds = 0.0
        durations: dict[int | None, int] = {}
        packets = total = 0
        self._key_frames = 0
        with _open_video_stream(path) as (container, stream):
            for packet in container.demux():
                file_end = max(file_end, packet_end(packet))
                if packet.stream.index == stream.index and packet.size and not packet.is_discard:
                    packets += 1
                    total += packet.duration or 0
                    durations[packet.pts] = packet.duration or 0
                    self._key_frames += packet.is_keyframe
            self.file_end = file_end - (container.start_time or 0) / 1_000_000
            self._time_base = stream.time_base
            rate = stream.average_rate
            is_mp4 = "mp4" in container.format.name
        if not packets:
            raise MediaError("the video has no frames")
        stamps = sorted(pts for pts in durations if pts is not None)
        self._first_pts = stamps[0] if stamps else 0
        # Some containers (AVI) stamp no packet, or not every one: frames are then evenly spaced.
        self._has_pts = len(stamps) == packets and self._time_base is not None
        if self._has_pts:
            self.times: NDArray[np.float64] = np.array([self._seconds(pts) for pts in stamps])
        elif rate:
            self.times = np.arange(packets) / float(rate)
        else:
            raise MediaError("the video declares neither presentation times nor a frame rate")
        # MP4 stores distances in decoding order, whose sum is the film's length; other containers the frame's duration.
        own = self._ticks(durations[stamps[-1]]) if self._has_pts else 0.0
        self.end = self._ticks(total) if is_mp4 and self._has_pts else self.times[-1] + own
        if self.end < self.times[-1] + STAMP_TOLERANCE:
            self.end = self.times[-1] + (float(np.median(np.diff(self.times))) if packets > 1 else own)

    def is_plain(self) -> bool:
        """Whether it is the only track and its frames are shown as stored: 8 bits, one size, upright, square pixels.

        False where that would cost much to find out.

        Decodes the key frames, of which an ordinary film has one in some seconds.
        """
        if self._key_frames > MAX_KEY_FRAMES:
            return False
        with _open_video_stream(self._path) as (container, stream):
            context = stream.codec_context
            # decord chooses among several tracks by other rules.
            if len(container.streams.video) > 1 or context.codec.canonical_name in _SIZE_IN_EVERY_FRAME:
                return False
            if context.format is None or any(component.bits > 8 for component in context.format.components):
                return False
            size = context.width, context.height
            context.options = {"max_pixels": str(MAX_PIXELS)}
            context.skip_frame = "NONKEY"
            for packet in container.demux(stream):
                if packet.size and not packet.is_keyframe:
                    continue
                try:
                    frames = context.decode(packet)
                except av.error.FFmpegError:
                    continue
                for frame in frames:
                    width = shown_width(frame.width, stream.sample_aspect_ratio)
                    codec_width = shown_width(frame.width, context.sample_aspect_ratio)
                    if not (width, frame.height) == (codec_width, frame.height) == size:
                        return False
                    if orientation(frame) != UPRIGHT:
                        return False
        return True

    def decode(self, wanted: Collection[int]) -> Iterator[tuple[int, RgbImage]]:
        """Yield the wanted frames that are intact, as they are shown, in the order they are shown.

        Behind a damaged frame everything up to the next key frame is skipped: those frames are predicted from missing
        ones, and decoders do not always report it.
        """
        damaged = False
        decoded = 0
        yielded = -1
        last = max(wanted, default=-1)
        with _open_video_stream(self._path) as (container, stream):
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            pixels = _PixelAspect(stream)
            projector = Projector()
            for packet in container.demux(stream):
                try:
                    frames = stream.codec_context.decode(packet)
                except av.error.FFmpegError:
                    damaged = True
                    continue
                pixels.note(packet.pts)
                for frame in frames:
                    if not isinstance(frame, av.VideoFrame):
                        continue
                    damaged = frame.is_corrupt or (damaged and not frame.key_frame)
                    index = self._index(frame, decoded)
                    decoded += 1
                    if not damaged and index is not None and index in wanted and index > yielded:
                        yielded = index
                        yield index, projector.picture(frame, pixels.of(frame.pts))
                    if index is not None and index >= last:
                        return

    def _index(self, frame: av.VideoFrame, decoded: int) -> int | None:
        """Index into `times` of a frame, `decoded` frames having come before it; None if it has no time stamp."""
        if not self._has_pts:
            return decoded
        if frame.pts is None:
            return None
        seconds = self._seconds(frame.pts)
        after = min(int(np.searchsorted(self.times, seconds)), len(self.times) - 1)
        before = max(0, after - 1)
        return before if seconds - self.times[before] < self.times[after] - seconds else after

    def _seconds(self, pts: int) -> Seconds:
        return self._ticks(pts - self._first_pts)

    def _ticks(self, ticks: int) -> Seconds:
        return float(ticks * (self._time_base or Fraction(0)))


class _PixelAspect:
    """Aspect ratio of the pixels of each frame.

    The container's value applies, as in FFmpeg, until the codec's own changes. The codec's belongs to the packet that
    was decoded last; frames come out later than their packets.
    """

    def __init__(self, stream: av.VideoStream) -> None:
        self._context = stream.codec_context
        self._container = stream.sample_aspect_ratio
        self._first: Fraction | None = None
        self._noted = False
        self._changed: dict[int | None, Fraction | None] = {}

    def note(self, pts: int | None) -> None:
        """Remember the aspect ratio of the packet just decoded, if it is not that of the first one."""
        current = self._context.sample_aspect_ratio
        if not self._noted:
            self._first, self._noted = current, True
        elif current != self._first:
            self._changed[pts] = current

    def of(self, pts: int | None) -> Fraction | None:
        """Aspect ratio of the frame with this time stamp; None if unknown."""
        return self._changed.pop(pts, self._container)


@contextmanager
def _open_video_stream(path: Path) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    """Open a container and its chosen video track; errors of PyAV become a MediaError."""
    try:
        with open_container(path) as container:
            stream = chosen_track(container, "video")
            if not isinstance(stream, av.VideoStream) or getattr(stream, "codec_context", None) is None:
                raise MediaError("the codec of the video cannot be decoded; convert it, for example to H.264")
            yield container, stream
    except MEDIA_ERRORS as error:
        raise MediaError(f"the video cannot be decoded ({first_line(str(error))})") from None
