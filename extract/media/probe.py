"""What a container says about itself, before anything is decoded."""

import math
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Stream

from ...shared.errors import MediaError
from ...shared.text import shortened
from ...shared.timing import Seconds
from .duration import Declared, declared_of

MEDIA_ERRORS = (av.error.FFmpegError, OSError, ValueError, IndexError)
"""What PyAV raises over files in disorder, IndexError for streams that come up in the middle."""

PLAYLISTS = frozenset(
    {"hls", "concat", "dash", "imf", "sdp", "rtsp", "rtp", "sap", "webm_dash_manifest", "lavfi", "x11grab", "fbdev"}
    | {"alsa", "oss", "kmsgrab", "video4linux2", "v4l2", "vobsub", "image2"}
)

LEAST_BYTES = 10
"""For a second: silence in FLAC takes so few."""

MOST_PIXELS = 64_000_000
"""Of one picture: 8K has 33 million; one of 65,535 x 65,535 would take 13 GB in RGB."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a container declares of its default streams: length (None: nothing said; no more than so many bytes can
    hold, since a damaged header may say centuries), codecs, pictures (0: likewise),
    and the bytes that all its pictures would take in RGB (infinite where nothing is said of their number).
    """

    seconds: Seconds | None
    audio_codec: str | None
    video_codec: str | None
    video_start: Seconds
    video_frames: int
    decoded_bytes: float
    video: Declared


def probe(path: Path) -> Probe:
    """Open a media file and read its header.

    Raises MediaError if it is no regular file or no media file, or declares pictures that are too large.
    """
    regular_file(path)
    try:
        with opened(path) as container:
            video = container.streams.best("video")
            if (context := getattr(video, "codec_context", None)) is not None:
                check_size(context.width, context.height)
            return Probe(
                seconds=_believed(container.duration, path) if container.duration else None,
                audio_codec=_codec(container.streams.best("audio")),
                video_codec=_codec(video),
                video_frames=video.frames if video is not None else 0,
                decoded_bytes=_decoded_bytes(video),
                video_start=_start(video) - (container.start_time or 0) / 1_000_000,
                video=declared_of(path, container, video) if video is not None else Declared(),
            )
    except MEDIA_ERRORS as error:
        raise MediaError(f"expected a media file, got one that cannot be opened ({_short(error)})") from None


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """A container. Raises MEDIA_ERRORS, and MediaError for a list of other files, which may lie anywhere."""
    # Absolute: FFmpeg takes what stands before a colon for a protocol. Titles may be in whatever encoding. A list is
    # refused before it opens what it names.
    try:
        container = av.open(str(path.absolute()), metadata_errors="replace", options={"format_whitelist": _formats()})
    except av.error.ArgumentError:
        raise MediaError("expected a media file, got a list of others, or nothing that can be read") from None
    with container:
        yield container


@cache
def _formats() -> str:
    """All that FFmpeg knows but lists and devices."""
    known = {name for names in av.formats_available for name in names.split(",")}
    return ",".join(sorted(known - PLAYLISTS))


def regular_file(path: Path) -> None:
    """Raise MediaError unless the path is a file: a folder cannot be read and a pipe may never answer."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise MediaError("there is no such file") from None
    except (OSError, ValueError) as error:
        # No permission on the way, a name that is too long, a circle of symbolic links, half a character.
        raise MediaError(f"expected a file, got a path that cannot be followed ({_short(error)})") from None
    if not stat.S_ISREG(mode):
        raise MediaError("expected a file, got something else (a folder, a pipe, a socket or a device)")


def check_size(width: int, height: int) -> None:
    """Raise MediaError for pictures that nobody films."""
    if width * height > MOST_PIXELS:
        wanted = f"expected pictures of {MOST_PIXELS // 1_000_000} million pixels at most"
        raise MediaError(f"{wanted}, got {width} x {height}; make the video smaller")


def _believed(microseconds: int, path: Path) -> Seconds:
    return max(0.0, min(microseconds / 1_000_000, path.stat().st_size / LEAST_BYTES))


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
    return first_line(getattr(error, "strerror", None) or str(error))


def first_line(text: str) -> str:
    """The first line of another library's words, which may have none."""
    return shortened((text.splitlines() or ["no reason given"])[0], 200)
