"""How long a file says that a track of it is, to compare what was decoded with."""

import os
import re
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Stream

from ...shared.timing import Seconds

SLACK: Seconds = 0.1
"""What the header of a healthy file, which rounds, may be off."""

_OWN = {"mov,mp4,m4a,3gp,3g2,mj2", "flac", "aiff", "au"}
"""Formats whose header tells of each track."""

_OF_THE_FILE = {"flv", "asf", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2"}
"""Formats whose header tells of the file, and (mostly, or in fragments) of no track."""

_PCM = (1, 3, 0xFFFE)
_UNKNOWN = 0x7FFF0000
"""Programs that write WAV into a pipe put a size from here on, since they cannot know it."""

_HEADER = 1 << 16

_FOREVER: Seconds = 1e9
"""What libsndfile makes of a header that leaves the length open."""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """Where a track ends on the file's clock: what is said of itself, and of the whole file. None: nothing is."""

    track: Seconds | None = None
    file: Seconds | None = None

    def end(self, track_ends: Seconds, file_ends: Seconds) -> Seconds | None:
        """Where the track should end, given where its last packet ends, and the last one of all tracks.

        What is said of the file counts where all tracks end before: one of them may well be shorter than the other.
        """
        if self.track is not None or self.file is None:
            return self.track
        return self.file if file_ends < self.file - SLACK else track_ends


def declared_of(path: Path, container: InputContainer, stream: Stream) -> Declared:
    """What a container says of a track; nothing for formats whose length is only estimated."""
    name = container.format.name
    zero = (container.start_time or 0) / 1_000_000
    whole = container.duration / 1_000_000 - max(0.0, zero) if container.duration and name in _OF_THE_FILE else None
    if name == "wav":
        return Declared(track=riff_seconds(path))
    if name == "avi":
        return Declared(track=_avi_seconds(path, stream))
    if name == "matroska,webm":
        tag = _tag_seconds(stream.metadata.get("DURATION", ""))
        own = tag is not None and whole is not None and tag - max(0.0, zero) <= whole + SLACK
        return Declared(track=tag - max(0.0, zero) if own and tag is not None else None, file=whole)
    # The pieces of a fragmented MP4 are not in its header.
    if (name in _OWN and (stream.frames or name != "mov,mp4,m4a,3gp,3g2,mj2")) or (name == "mp3" and _counted(path)):
        if stream.duration and stream.time_base:
            begin = float((stream.start_time or 0) * stream.time_base) - zero
            return Declared(track=begin + float(stream.duration * stream.time_base))
        return Declared()
    return Declared(file=whole)


def declared_sound(path: Path, kind: str, seconds: Seconds) -> Seconds | None:
    """The length that a sound file declares, given its format and the length that libsndfile makes of it.

    That is fitted to what is there, but for FLAC; Ogg and MP3 declare nothing.
    """
    if kind in ("WAV", "WAVEX", "RF64"):
        return riff_seconds(path)
    if kind == "FLAC":
        return seconds if seconds < _FOREVER else None
    if kind in ("AIFF", "AU"):
        with (
            suppress(av.error.FFmpegError, OSError),
            av.open(str(path.absolute()), metadata_errors="replace") as container,
        ):
            return declared_of(path, container, container.streams[0]).track
    return None


def riff_seconds(path: Path) -> Seconds | None:
    """The length that the header of a WAV file in PCM declares; None for others, and where it is left open."""
    try:
        with path.open("rb") as file:
            head, size = file.read(12), os.fstat(file.fileno()).st_size
            if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
                return None
            long, bytes_per_second = 0, 0
            while len(chunk := file.read(8)) == 8 and file.tell() < size:
                name, length = struct.unpack("<4sI", chunk)
                if name == b"data":
                    length = long if length == 0xFFFFFFFF else length
                    known = bytes_per_second and length and (length < _UNKNOWN or length <= size or long)
                    return length / bytes_per_second if known else None
                begin = file.tell()
                if name == b"ds64":
                    long = int(struct.unpack("<QQ", file.read(16))[1])
                elif name == b"fmt ":
                    kind, _, rate, _, block = struct.unpack("<HHIIH", file.read(14))
                    bytes_per_second = rate * block if kind in _PCM else 0
                file.seek(begin + length + length % 2)
    except (OSError, struct.error):
        pass
    return None


def _avi_seconds(path: Path, stream: Stream) -> Seconds | None:
    """From the stream's header: FFmpeg makes the length of a file that is cut off fit."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER)
        places = [found.start() + 8 for found in re.finditer(rb"strh", head)]
        scale, rate, start, length = struct.unpack_from("<4I", head, places[stream.index] + 20)
    except (OSError, struct.error, IndexError):
        return None
    return (start + length) * scale / rate if scale and rate and length else None


def _tag_seconds(text: str) -> Seconds | None:
    found = re.fullmatch(r"(\d{1,9}):(\d\d):(\d\d(?:\.\d{1,9})?)", text)
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]) if found else None


def _counted(path: Path) -> bool:
    """Whether an MP3 file says how many frames it has, in its first."""
    try:
        with path.open("rb") as file:
            head = file.read(10)
            if head[:3] == b"ID3":
                file.seek(10 + sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)))
            else:
                file.seek(0)
            first = file.read(512)
    except (OSError, ValueError):
        return False
    return any(word in first for word in (b"Xing", b"Info", b"VBRI"))
