"""Decodes with PyAV what decord cannot: codecs it does not know (AV1), and what is left of a damaged video."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from ..shared.errors import MediaError
from ..shared.timing import Seconds
from .probe import MEDIA_ERRORS


def packet_times(path: Path) -> NDArray[np.float64]:
    """When each picture is shown, in seconds from the first one's time, ascending; read without decoding."""
    with _opened(path) as (container, stream):
        times = [
            float(packet.pts * packet.time_base)
            for packet in container.demux(stream)
            if packet.pts is not None and not packet.is_discard
        ]
    if not times:
        raise MediaError("the video has no frames")
    return np.unique(np.array(times)) - min(times)


def decode(path: Path) -> Iterator[tuple[Seconds | None, NDArray[np.uint8]]]:
    """All sound pictures in the order they are shown, (h, w, 3) RGB and upright, with seconds from the first's time.

    Damaged packets and pictures patched up by the decoder are left out, the rest goes on.
    """
    with _opened(path) as (container, stream):
        start = float((stream.start_time or 0) * (stream.time_base or 0))
        for packet in container.demux(stream):
            try:
                frames = stream.codec_context.decode(packet)
            except av.error.FFmpegError:
                continue
            for frame in frames:
                if isinstance(frame, av.VideoFrame) and not frame.is_corrupt:
                    picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                    upright = np.rot90(picture, frame.rotation // 90)
                    yield None if frame.time is None else frame.time - start, upright


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    """A container and its default video stream; what PyAV raises over it becomes a MediaError."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.best("video")
            if not isinstance(stream, av.VideoStream) or getattr(stream, "codec_context", None) is None:
                raise MediaError("the codec of the video cannot be decoded; convert it, for example to H.264")
            yield container, stream
    except MEDIA_ERRORS as error:
        raise MediaError(f"the video cannot be decoded ({error})") from None
