"""What a container says about itself, before anything is decoded."""

import math
from dataclasses import dataclass
from pathlib import Path

import av
from av.stream import Stream

from ..shared.errors import MediaError
from ..shared.timing import Seconds

MEDIA_ERRORS = (av.error.FFmpegError, OSError, ValueError, IndexError)
"""What PyAV raises over files in disorder, IndexError for streams that come up in the middle."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a container declares of its default streams: length (None: nothing said), codecs, pictures (0: likewise),
    and the bytes that all its pictures would take in RGB (infinite where nothing is said of their number).
    """

    seconds: Seconds | None
    audio_codec: str | None
    video_codec: str | None
    video_start: Seconds
    video_frames: int
    decoded_bytes: float


def probe(path: Path) -> Probe:
    """Open a media file and read its header. Raises MediaError if it is no regular file or no media file."""
    regular_file(path)
    try:
        with av.open(str(path)) as container:
            video = container.streams.best("video")
            return Probe(
                seconds=container.duration / 1_000_000 if container.duration else None,
                audio_codec=_codec(container.streams.best("audio")),
                video_codec=_codec(video),
                video_frames=video.frames if video is not None else 0,
                decoded_bytes=_decoded_bytes(video),
                video_start=_start(video) - (container.start_time or 0) / 1_000_000,
            )
    except MEDIA_ERRORS as error:
        raise MediaError(f"expected a media file, got one that cannot be opened ({_short(error)})") from None


def regular_file(path: Path) -> None:
    """Raise MediaError unless the path is a file: a folder cannot be read and a pipe may never answer."""
    if not path.is_file():
        raise MediaError("expected a file, got something else" if path.exists() else "there is no such file")


def _start(stream: Stream | None) -> Seconds:
    if stream is None or stream.start_time is None or stream.time_base is None:
        return 0.0
    return float(stream.start_time * stream.time_base)


def _decoded_bytes(stream: Stream | None) -> float:
    context = getattr(stream, "codec_context", None)
    if stream is None or not stream.frames or context is None:
        return math.inf
    return float(3 * stream.frames * context.width * context.height)


def _codec(stream: Stream | None) -> str | None:
    if stream is None:
        return None
    # PyAV has no codec context for streams that its FFmpeg cannot decode.
    context = getattr(stream, "codec_context", None)
    return "an unknown codec" if context is None else str(context.codec.canonical_name)


def _short(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).splitlines()[0]
