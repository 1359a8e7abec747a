"""Decode the audio track of a container to mono, every part of it at the time of its time stamps.

Time zero is the start of the container, as for the frames of a video (`Video.shown_at`). FLV and Matroska round time
stamps to milliseconds; so they move samples only where they are more than GAP_SECONDS ahead. The delay that an encoder
inserts before the first sample is removed where the container declares it (edit lists, CodecDelay, Opus' pre-skip,
LAME's tag). FLV, AVI and MPEG-TS cannot declare it: an audio track alone then begins late by the encoder's delay, 1024
samples for AAC and 1105 for LAME, as in every player; with a video track FLV and MPEG-TS shift both, AVI neither.

FFmpeg's filter `aresample=async=1:first_pts=0` does the same in 35 lines, but not as exactly. Click tests of
tests/extract/media/test_audio_track.py, where a click has to be within one sample of its time at 16 kHz:

    implementation           passed   failed
    this module              201      0
    aresample and pan        181      20: AAC in FLV, the first packet of a fragmented MP4, gaps in Opus and FLV,
                                      invalid time stamps, a sample rate that changes, twice the memory
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
import soxr
from av.container import InputContainer
from av.packet import Packet
from numpy.typing import NDArray

from ...shared.errors import MediaError
from ...shared.timing import SAMPLE_RATE, Seconds, to_samples
from .channels import Mixer
from .duration import declared_duration
from .probe import MEDIA_ERRORS, first_line, open_container
from .tracks import chosen_track

GAP_SECONDS: Seconds = 0.05
"""Time stamps that are further ahead of the decoded samples mark a gap, which is filled with silence."""

MAX_GAP: Seconds = 3600.0
"""A longer gap is a damaged time stamp; it must not fill the memory."""

MAX_SILENCE_SAMPLES = 3600 * 48_000
"""Samples of silence that time stamps alone may insert, unless as many were decoded."""

MIN_RATE_HZ = 1_000
MAX_RATE_HZ = 1_000_000
"""Sample rates accepted. Resampled from 1 Hz to 16 kHz, a file would grow by 16,000 times."""

MAX_OFFSETS = 64
"""As many time stamps locate a segment to a fraction of their rounding."""

Gap = tuple[Seconds, Seconds]
"""Start and end of inserted silence."""


@dataclass(frozen=True, kw_only=True)
class AudioTrack:
    """A decoded audio track.

    Attributes:
        mono: the mixed channels, (samples,), full scale being 1.
        rate_hz: sample rate.
        cancelled: whether the channels cancel in their mean.
        declared: end of the track by the file's header; None if unknown.
        tolerance: seconds by which an intact file may be shorter than declared.
        gaps: inserted silence.
    """

    mono: NDArray[np.float32]
    rate_hz: int
    cancelled: bool = False
    declared: Seconds | None = None
    tolerance: Seconds = GAP_SECONDS
    gaps: tuple[Gap, ...] = ()


def check_rate(rate_hz: float) -> None:
    """Raise MediaError for a sample rate outside MIN_RATE_HZ to MAX_RATE_HZ."""
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise MediaError(f"expected a sample rate of {MIN_RATE_HZ:,} to {MAX_RATE_HZ:,} Hz, got {rate_hz:,}")


def read_audio_track(path: Path, mixer: Mixer) -> AudioTrack | None:
    """Decode the audio track of a container (`chosen_track`) and mix its channels; None if it has none.

    Packets that cannot be decoded are skipped. Raises MediaError if none can be decoded, or for a missing channel.
    """
    try:
        with open_container(path) as container:
            stream = chosen_track(container, "audio")
            if stream is None:
                return None
            if not isinstance(stream, av.AudioStream) or getattr(stream, "codec_context", None) is None:
                raise MediaError("the codec of the audio cannot be decoded; convert it, for example to WAV")
            rate_hz = stream.codec_context.sample_rate or SAMPLE_RATE
            tick = float(stream.time_base or 0)
            start = (container.start_time or 0) / 1_000_000
            single_track = len(container.streams) == 1
            declared = declared_duration(path, container, stream)
            # libavformat rounds Matroska's CodecDelay a second time before it subtracts it.
            rounding = tick if single_track or stream.codec_context.delay else tick / 2
            segments: list[_AudioSegment] = []
            longest_frame = 0.0
            file_end = [-start]
            for frame in _decode_frames(container, stream, file_end):
                check_rate(frame.sample_rate)
                longest_frame = max(longest_frame, frame.samples / frame.sample_rate)
                if not segments or segments[-1].starts_new_segment(frame):
                    segments.append(_AudioSegment(frame, tick, segments[-1].end if segments else 0.0))
                segments[-1].add(frame, mixer)
    except MEDIA_ERRORS as error:
        reason = first_line(getattr(error, "strerror", None) or str(error))
        raise MediaError(f"the audio cannot be decoded ({reason})") from None
    if not segments:
        return AudioTrack(mono=np.zeros(0, np.float32), rate_hz=rate_hz)
    begin = segments[0].start_time(start, rounding)
    if single_track:
        # No other track to stay in sync with: it begins at zero. What its edit list puts before zero is cut off.
        begin = min(0.0, begin + max(0.0, start))
    mono, rate_hz, gaps = _concatenate_segments(segments, begin)
    return AudioTrack(
        mono=mono,
        rate_hz=rate_hz,
        cancelled=mixer.cancelled,
        gaps=gaps,
        tolerance=max(GAP_SECONDS, min(2 * longest_frame, 2 * GAP_SECONDS)),
        declared=declared.end(len(mono) / rate_hz, file_end[0] - start),
    )


class _AudioSegment:
    """Part of a track without gaps, of one sample rate."""

    def __init__(self, first: av.AudioFrame, tick: Seconds, end: Seconds) -> None:
        """Start a segment.

        Args:
            first: the frame that it will begin with.
            tick: resolution of the time stamps.
            end: seconds of audio decoded before.
        """
        self.rate_hz = first.sample_rate
        self.end = end
        self._first_is_stamped = first.pts is not None
        self._tick = tick
        self._bytes = bytearray()
        self._offsets: list[Seconds] = []

    def add(self, frame: av.AudioFrame, mixer: Mixer) -> None:
        """Append a frame and note its time stamp."""
        offset = self._frame_offset(frame)
        if offset is not None and len(self._offsets) <= MAX_OFFSETS:
            self._offsets.append(offset)
        self._bytes.extend(_mono(frame, mixer).data)
        self.end += frame.samples / self.rate_hz

    def starts_new_segment(self, frame: av.AudioFrame) -> bool:
        """Whether the frame comes after a gap or has another sample rate.

        A single time stamp before it is not enough to detect a gap.
        """
        offset = self._frame_offset(frame)
        if offset is not None and len(self._offsets) > 1 and abs(offset - self.timestamp_offset(0.0)) > GAP_SECONDS:
            return True
        return frame.sample_rate != self.rate_hz

    def timestamp_offset(self, default: Seconds) -> Seconds:
        """How far its time stamps are ahead of the samples decoded before; `default` without time stamps."""
        if not self._offsets:
            return default
        low, high = self._offset_range()
        # Rounded stamps allow an interval, of which this is the middle; others jitter.
        return (low + high) / 2 if high - low <= 2 * self._tick else median(self._offsets)

    def start_time(self, container_start: Seconds, rounding: Seconds) -> Seconds:
        """Start of the segment relative to that of the container; 0 where the rounding of its time stamps allows it."""
        if not self._first_is_stamped or not self._offsets:
            return 0.0
        begin = self.timestamp_offset(container_start) - container_start
        low, high = self._offset_range()
        return 0.0 if abs(begin) <= rounding - (high - low) / 2 + 1e-9 or abs(begin) > MAX_GAP else begin

    def samples(self) -> NDArray[np.float32]:
        """The decoded samples, mono, (samples,)."""
        return np.frombuffer(self._bytes, np.float32)

    def _frame_offset(self, frame: av.AudioFrame) -> Seconds | None:
        return None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base) - self.end

    def _offset_range(self) -> tuple[Seconds, Seconds]:
        # The first stamp is rounded twice where an encoder's delay was subtracted, and wrong in fragmented MP4.
        offsets = self._offsets[1:] or self._offsets
        return min(offsets), max(offsets)


def packet_end(packet: "Packet[Any]") -> Seconds:
    """End of a packet on the container's clock; minus infinity if it has no time stamp."""
    if packet.pts is None or packet.time_base is None:
        return -np.inf
    return float((packet.pts + (packet.duration or 0)) * packet.time_base)


def _decode_frames(
    container: InputContainer, stream: av.AudioStream, file_end: list[Seconds]
) -> Iterator[av.AudioFrame]:
    """Yield all frames that can be decoded; raise the decoder's error if there are none.

    Sets `file_end[0]` to the end of the last packet of any track, on the container's clock.
    """
    damage: Exception | None = None
    empty = True
    try:
        for packet in container.demux():
            file_end[0] = max(file_end[0], packet_end(packet))
            if packet.stream.index != stream.index:
                continue
            try:
                frames = stream.decode(packet)
            except av.error.FFmpegError as error:
                damage = error
                continue
            for frame in frames:
                if frame.samples and frame.sample_rate:
                    empty = False
                    yield frame
    except MEDIA_ERRORS as error:
        damage = error
    if empty and damage is not None:
        raise damage


def _mono(frame: av.AudioFrame, mixer: Mixer) -> NDArray[np.float32]:
    """The mixed channels, (samples,), full scale being 1."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(frame.samples, -1).T
    mono = mixer.mono(samples)
    if samples.dtype.kind == "f":
        return mono
    mono /= np.float32(2.0 ** (8 * samples.itemsize - 1))
    return mono - 1 if samples.dtype.kind == "u" else mono


def _concatenate_segments(
    segments: list[_AudioSegment], begin: Seconds
) -> tuple[NDArray[np.float32], int, tuple[Gap, ...]]:
    """Concatenate the segments, with silence for the gaps between them.

    Args:
        segments: the segments in their order, at least one.
        begin: start of the first one; samples before zero are cut off.

    Returns:
        Samples (samples,), their rate (that of the longest segment), and the inserted silence.

    Raises:
        MediaError: the time stamps demand far more silence than there is audio.
    """
    rate_hz = max(segments, key=lambda segment: len(segment.samples()) / segment.rate_hz).rate_hz
    offsets: list[Seconds] = []
    for segment in segments:
        offsets.append(segment.timestamp_offset(offsets[-1] if offsets else 0.0))
    # A jump that is undone later is no gap, but a damaged time stamp or a restart of the clock.
    gaps = np.diff(np.minimum.accumulate(offsets[::-1])[::-1], prepend=offsets[0])
    gaps[(gaps <= GAP_SECONDS) | (gaps >= MAX_GAP)] = 0.0
    silence = to_samples(max(0.0, begin) + float(gaps.sum()), rate_hz)
    if silence > max(MAX_SILENCE_SAMPLES, to_samples(segments[-1].end, rate_hz)):
        raise MediaError(
            f"the time stamps of the audio leave {silence / rate_hz:.0f} s of silence in {segments[-1].end:.2f} s"
        )
    parts = [np.zeros(to_samples(max(0.0, begin), rate_hz), np.float32)]
    cut_off = to_samples(max(0.0, -begin), rate_hz)
    filled: list[Gap] = []
    for segment, gap in zip(segments, gaps, strict=True):
        if gap:
            at = (sum(map(len, parts)) - cut_off) / rate_hz
            filled.append((at, at + float(gap)))
            parts.append(np.zeros(to_samples(float(gap), rate_hz), np.float32))
        samples = segment.samples()
        if segment.rate_hz != rate_hz:
            samples = soxr.resample(samples, segment.rate_hz, rate_hz, quality="HQ")
        parts.append(samples)
    parts = [part for part in parts if part.size]
    mono = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return mono[cut_off:] if cut_off < len(mono) else mono, rate_hz, tuple(filled)
