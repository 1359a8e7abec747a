"""Headers of media files, read before anything is decoded."""

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
from ...shared.files.recognize import LFS_REMEDY, is_lfs_pointer
from ...shared.text import shortened
from ...shared.timing import Seconds
from .duration import DeclaredDuration, declared_duration
from .tracks import chosen_track

MEDIA_ERRORS = (av.error.FFmpegError, OSError, ValueError, IndexError)
"""Exceptions of PyAV for damaged files; IndexError for streams that appear in the middle of a file."""

INDIRECT_FORMATS = frozenset(
    {"hls", "concat", "dash", "imf", "sdp", "rtsp", "rtp", "sap", "webm_dash_manifest", "lavfi", "x11grab", "fbdev"}
    | {"alsa", "oss", "kmsgrab", "video4linux2", "v4l2", "vobsub", "image2"}
)
"""Formats of FFmpeg that read other files or devices."""

MIN_BYTES_PER_SECOND = 10
"""Silence in FLAC takes no more."""

MAX_PIXELS = 64_000_000
"""Maximum per frame. 8K has 33 million; a frame of 65,535 x 65,535 would take 13 GB in RGB."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What the header of a media file declares.

    Attributes:
        seconds: duration of the file, at most what its size allows, since a damaged header may declare centuries; None
            if not declared.
        video_codec: codec of the chosen video track (`chosen_track`); None if there is none.
        video_start: start of the video after the start of the file, in seconds.
        video_frames: number of frames of the video; 0 if not declared.
        decoded_bytes: bytes of all frames in RGB; infinite if their number is not declared.
        video: declared duration of the video track.
    """

    seconds: Seconds | None
    video_codec: str | None
    video_start: Seconds
    video_frames: int
    decoded_bytes: float
    video: DeclaredDuration


def probe(path: Path) -> Probe:
    """Read the header of a media file.

    Raises MediaError if it is not a media file, and for frames above MAX_PIXELS.
    """
    check_regular_file(path)
    try:
        with open_container(path) as container:
            video = chosen_track(container, "video")
            context = getattr(video, "codec_context", None)
            if context is not None:
                check_frame_size(context.width, context.height)
            return Probe(
                seconds=_capped_duration(container.duration, path) if container.duration else None,
                video_codec=_codec(video),
                video_frames=video.frames if video is not None else 0,
                decoded_bytes=_decoded_bytes(video),
                video_start=_start(video) - (container.start_time or 0) / 1_000_000,
                video=declared_duration(path, container, video) if video is not None else DeclaredDuration(),
            )
    except MEDIA_ERRORS as error:
        raise MediaError(f"expected a media file, got one that cannot be opened ({_reason(error)})") from None


@contextmanager
def open_container(path: Path) -> Iterator[InputContainer]:
    """Open a media file with PyAV.

    Raises MEDIA_ERRORS, and MediaError for playlists, which may name files anywhere.
    """
    # The absolute path: FFmpeg takes the text before a colon for a protocol. metadata_errors: titles may be in any
    # encoding. format_whitelist: a playlist is refused before FFmpeg opens the files that it names.
    try:
        container = av.open(str(path.absolute()), metadata_errors="replace", options={"format_whitelist": _formats()})
    except av.error.ArgumentError:
        raise MediaError("expected a media file, got a playlist or an unknown format") from None
    with container:
        yield container


@cache
def _formats() -> str:
    """All formats of FFmpeg except playlists and devices, as FFmpeg's list."""
    known = {name for names in av.formats_available for name in names.split(",")}
    return ",".join(sorted(known - INDIRECT_FORMATS))


def check_regular_file(path: Path) -> None:
    """Raise MediaError unless the path is a file: a folder cannot be read, and reading a pipe may block forever.

    A Git LFS pointer is refused, too: decoders would report an unknown format.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise MediaError("no such file") from None
    except (OSError, ValueError) as error:
        # No permission on a folder, a name that is too long, circular symbolic links, an invalid character.
        raise MediaError(f"expected a file, got a path that cannot be followed ({_reason(error)})") from None
    if not stat.S_ISREG(status.st_mode):
        raise MediaError("expected a file, got a folder, a pipe, a socket or a device")
    if is_lfs_pointer(path, status.st_size):
        raise MediaError(f"expected a media file, got a Git LFS pointer instead of the file itself; {LFS_REMEDY}")


def check_frame_size(width: int, height: int) -> None:
    """Raise MediaError for frames above MAX_PIXELS."""
    if width * height > MAX_PIXELS:
        limit = f"expected frames of {MAX_PIXELS // 1_000_000} million pixels at most"
        raise MediaError(f"{limit}, got {width} x {height}; scale the video down")


def _capped_duration(microseconds: int, path: Path) -> Seconds:
    return max(0.0, min(microseconds / 1_000_000, path.stat().st_size / MIN_BYTES_PER_SECOND))


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


def _reason(error: Exception) -> str:
    return first_line(getattr(error, "strerror", None) or str(error))


def first_line(text: str) -> str:
    """First line of another library's error message, shortened; the message may be empty."""
    return shortened((text.splitlines() or ["no reason given"])[0], 200)
