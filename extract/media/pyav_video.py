"""Video reader on PyAV, for what decord cannot read: long videos, other codecs (AV1), damaged files."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from ...shared.errors import MediaError
from ...shared.timing import Seconds
from .audio_track import packet_end
from .probe import MAX_PIXELS, MEDIA_ERRORS, check_frame_size, first_line, open_container
from .video_reader import RgbImage


class PyavVideo:
    """A `VideoReader` that decodes no further than requested and continues behind damaged frames."""

    file_end: Seconds | None

    def __init__(self, path: Path) -> None:
        """Read the presentation times without decoding. Raises MediaError."""
        self._path = path
        packets = 0
        file_end: Seconds = 0.0
        seen: set[int] = set()
        with _open_video_stream(path) as (container, stream):
            for packet in container.demux():
                file_end = max(file_end, packet_end(packet))
                if packet.stream.index == stream.index and packet.size and not packet.is_discard:
                    packets += 1
                    if packet.pts is not None:
                        seen.add(packet.pts)
            self.file_end = file_end - (container.start_time or 0) / 1_000_000
            self._time_base = stream.time_base
            rate = stream.average_rate
        if not packets:
            raise MediaError("the video has no frames")
        stamps = sorted(seen)
        self._first_pts = stamps[0] if stamps else 0
        # Some containers (AVI) stamp no packet, or not every one: frames are then evenly spaced.
        self._has_pts = len(stamps) == packets and self._time_base is not None
        if self._has_pts:
            self.times: NDArray[np.float64] = np.array([self._seconds(pts) for pts in stamps])
        elif rate:
            self.times = np.arange(packets) / float(rate)
        else:
            raise MediaError("the video declares neither presentation times nor a frame rate")

    def decode(self, wanted: Collection[int]) -> Iterator[tuple[int, RgbImage]]:
        """Yield the wanted frames that are intact, upright, in the order they are shown.

        Behind a damaged frame everything up to the next key frame is skipped: those frames are predicted from missing
        ones, and decoders do not always report it.
        """
        damaged = False
        decoded = 0
        yielded = -1
        last = max(wanted, default=-1)
        with _open_video_stream(self._path) as (container, stream):
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            for packet in container.demux(stream):
                try:
                    frames = stream.codec_context.decode(packet)
                except av.error.FFmpegError:
                    damaged = True
                    continue
                for frame in frames:
                    if not isinstance(frame, av.VideoFrame):
                        continue
                    damaged = frame.is_corrupt or (damaged and not frame.key_frame)
                    index = self._index(frame, decoded)
                    decoded += 1
                    if not damaged and index is not None and index in wanted and index > yielded:
                        check_frame_size(frame.width, frame.height)
                        yielded = index
                        image = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                        yield index, np.rot90(image, frame.rotation // 90)
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
        return float((pts - self._first_pts) * (self._time_base or Fraction(0)))


@contextmanager
def _open_video_stream(path: Path) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    """Open a container and its default video stream; errors of PyAV become a MediaError."""
    try:
        with open_container(path) as container:
            stream = container.streams.best("video")
            if not isinstance(stream, av.VideoStream) or getattr(stream, "codec_context", None) is None:
                raise MediaError("the codec of the video cannot be decoded; convert it, for example to H.264")
            yield container, stream
    except MEDIA_ERRORS as error:
        raise MediaError(f"the video cannot be decoded ({first_line(str(error))})") from None
