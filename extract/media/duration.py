"""Declared durations of tracks, to compare with what was decoded: a track that is shorter was truncated or damaged."""

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

HEADER_TOLERANCE: Seconds = 0.1
"""Rounding error of the durations in the headers of intact files."""

_MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
_TRACK_DURATION = {_MP4, "flac", "aiff", "au"}
_FILE_DURATION = {_MP4, "flv", "asf", "matroska,webm"}
"""Formats that declare a duration of the file and mostly (MP4: in fragments) none of its tracks."""

_AVI_HEADER_BYTES = 65536
_PCM = (1, 3, 0xFFFE)
_MIN_UNKNOWN_SIZE = 0x7FFF0000
"""Programs that write WAV into a pipe put a size of at least this into its header."""

_MAX_DURATION: Seconds = 1e9
"""libsndfile reports more for a header that leaves the duration open."""


@dataclass(frozen=True, kw_only=True)
class DeclaredDuration:
    """End of a track on the file's clock by the header of the `track` itself and of the `file`; None: not declared."""

    track: Seconds | None = None
    file: Seconds | None = None

    def end(self, track_end: Seconds, file_end: Seconds) -> Seconds | None:
        """Expected end of the track.

        Args:
            track_end: end of its last packet.
            file_end: end of the last packet of any track. The file's duration applies where all tracks end before it,
                since one track may be shorter than the other.
        """
        if self.track is not None or self.file is None:
            return self.track
        return self.file if file_end < self.file - HEADER_TOLERANCE else track_end


def declared_duration(path: Path, container: InputContainer, stream: Stream) -> DeclaredDuration:
    """Duration that a container declares of a track: of MP4, Matroska, AVI, FLAC, AIFF, AU, WAV, FLV and ASF.

    FFmpeg only estimates those of other formats, or adapts them to a truncated file (MP3).
    """
    name = container.format.name
    start = (container.start_time or 0) / 1_000_000
    if name == "wav":
        return DeclaredDuration(track=wav_header_duration(path))
    if name == "avi":
        return DeclaredDuration(track=_avi_header_duration(path, stream))
    file = None
    if container.duration and name in _FILE_DURATION:
        file = container.duration / 1_000_000 - max(0.0, start)
    if name == "matroska,webm":
        tag = _parse_duration(stream.metadata.get("DURATION", ""))
        track = None if tag is None else tag - max(0.0, start)
        plausible = track is not None and file is not None and track <= file + HEADER_TOLERANCE
        return DeclaredDuration(track=track if plausible else None, file=file)
    # The header of a fragmented MP4 does not count the frames in its fragments.
    if name in _TRACK_DURATION and (stream.frames or name != _MP4):
        if not stream.duration or not stream.time_base:
            return DeclaredDuration()
        track_start = float((stream.start_time or 0) * stream.time_base) - start
        return DeclaredDuration(track=track_start + float(stream.duration * stream.time_base))
    return DeclaredDuration(file=file)


def declared_sound_duration(path: Path, format_name: str, seconds: Seconds) -> Seconds | None:
    """Duration that an audio file declares; None if it declares none (Ogg, MP3).

    Args:
        path: the audio file.
        format_name: its format by libsndfile.
        seconds: its duration by libsndfile, which is the declared one for FLAC only.
    """
    if format_name in ("WAV", "WAVEX", "RF64"):
        return wav_header_duration(path)
    if format_name == "FLAC":
        return seconds if seconds < _MAX_DURATION else None
    if format_name in ("AIFF", "AU"):
        with (
            suppress(av.error.FFmpegError, OSError),
            av.open(str(path.absolute()), metadata_errors="replace") as container,
        ):
            return declared_duration(path, container, container.streams[0]).track
    return None


def wav_header_duration(path: Path) -> Seconds | None:
    """Duration that the header of a PCM WAV file declares; None for other files, and where it is left open."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
            file_size = os.fstat(file.fileno()).st_size
            if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
                return None
            size64 = 0
            bytes_per_second = 0
            while len(chunk := file.read(8)) == 8 and file.tell() < file_size:
                name, size = struct.unpack("<4sI", chunk)
                if name == b"data":
                    size = size64 if size == 0xFFFFFFFF else size
                    known = size < _MIN_UNKNOWN_SIZE or size <= file_size or size64
                    return size / bytes_per_second if bytes_per_second and size and known else None
                begin = file.tell()
                if name == b"ds64":
                    size64 = int(struct.unpack("<QQ", file.read(16))[1])
                elif name == b"fmt ":
                    kind, _, rate_hz, _, block_bytes = struct.unpack("<HHIIH", file.read(14))
                    bytes_per_second = rate_hz * block_bytes if kind in _PCM else 0
                file.seek(begin + size + size % 2)
    except (OSError, struct.error):
        pass
    return None


def _avi_header_duration(path: Path, stream: Stream) -> Seconds | None:
    """Duration in the stream header (strh) of an AVI file; FFmpeg reports the one of the frames that are there."""
    try:
        with path.open("rb") as file:
            head = file.read(_AVI_HEADER_BYTES)
        headers = [match.start() + 8 for match in re.finditer(rb"strh", head)]
        scale, rate, start, length = struct.unpack_from("<4I", head, headers[stream.index] + 20)
    except (OSError, struct.error, IndexError):
        return None
    return (start + length) * scale / rate if scale and rate and length else None


def _parse_duration(text: str) -> Seconds | None:
    match = re.fullmatch(r"(\d{1,9}):(\d\d):(\d\d(?:\.\d{1,9})?)", text)
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]) if match else None
