"""Decodes with PyAV what decord cannot: long videos, codecs it does not know (AV1), what is left of a damaged one."""

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
from .audio_track import packet_ends
from .probe import MEDIA_ERRORS, MOST_PIXELS, check_size, first_line, opened


class PatientVideo:
    """A video, decoded no further than it is asked for, that goes on behind its damages.

    `times`: when each of its pictures is shown, in seconds from the first one's, ascending, (frames,).
    `file_ends`: when the last packet of any track is over, on the file's clock.
    """

    def __init__(self, path: Path) -> None:
        """Read the times without decoding. Raises MediaError."""
        self._path = path
        with _opened(path) as (container, stream):
            packets, seen, ends = 0, set[int](), 0.0
            for packet in container.demux():
                ends = max(ends, packet_ends(packet))
                if packet.stream.index == stream.index and packet.size and not packet.is_discard:
                    packets += 1
                    if packet.pts is not None:
                        seen.add(packet.pts)
            self.file_ends: Seconds = ends - (container.start_time or 0) / 1_000_000
            tick, rate, stamps = stream.time_base, stream.average_rate, sorted(seen)
        if not packets:
            raise MediaError("the video has no pictures")
        self._first, self._tick = (stamps[0] if stamps else 0), tick
        # Some containers (AVI) time nothing, or not every packet: then the pictures follow each other evenly.
        self._timed = len(stamps) == packets and tick is not None
        if self._timed:
            self.times: NDArray[np.float64] = np.array([self._seconds(stamp) for stamp in stamps])
        elif rate:
            self.times = np.arange(packets) / float(rate)
        else:
            raise MediaError("the video says neither when its pictures are shown nor how many a second")

    def decode(self, wanted: Collection[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """The wanted pictures that are sound, with their numbers, in the order they are shown: (h, w, 3) RGB, upright.

        Behind a damage everything up to the next key frame is left out: it is drawn over pictures that are missing,
        and decoders do not always say so.
        """
        broken, count, last = False, 0, max(wanted, default=-1)
        with _opened(self._path) as (container, stream):
            stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
            for packet in container.demux(stream):
                try:
                    frames = stream.codec_context.decode(packet)
                except av.error.FFmpegError:
                    broken = True
                    continue
                for frame in frames:
                    if not isinstance(frame, av.VideoFrame):
                        continue
                    broken = frame.is_corrupt or (broken and not frame.key_frame)
                    index = self._number(frame, count)
                    count += 1
                    if not broken and index is not None and index in wanted:
                        check_size(frame.width, frame.height)
                        picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                        yield index, np.rot90(picture, frame.rotation // 90)
                    if index is not None and index >= last:
                        return

    def _number(self, frame: av.VideoFrame, count: int) -> int | None:
        if not self._timed:
            return count
        if frame.pts is None:
            return None
        seconds = self._seconds(frame.pts)
        after = min(int(np.searchsorted(self.times, seconds)), len(self.times) - 1)
        before = max(0, after - 1)
        return before if seconds - self.times[before] < self.times[after] - seconds else after

    def _seconds(self, stamp: int) -> float:
        return float((stamp - self._first) * (self._tick or Fraction(0)))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    """A container and its default video stream; what PyAV raises over it becomes a MediaError."""
    try:
        with opened(path) as container:
            stream = container.streams.best("video")
            if not isinstance(stream, av.VideoStream) or getattr(stream, "codec_context", None) is None:
                raise MediaError("the codec of the video cannot be decoded; convert it, for example to H.264")
            yield container, stream
    except MEDIA_ERRORS as error:
        raise MediaError(f"the video cannot be decoded ({first_line(str(error))})") from None
