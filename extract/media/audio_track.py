"""The sound track of a container, mono, every stretch of it where its time stamps say.

Zero is where the container begins, as it is for the pictures (`Video.shown_at`). Stamps are trusted as far as they are
exact: FLV and Matroska round them to milliseconds, so they never move a sample but where 50 ms are missing. What an
encoder put before the first sample goes where the container tells of it (edit lists, CodecDelay, Opus' pre-skip, LAME's
tag). FLV, AVI and MPEG-TS have no place for that: sound alone then begins late by the encoder's delay, 1024 samples for
AAC and 1105 for LAME, as in every player; beside a picture FLV and MPEG-TS shift both, and AVI neither.
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
from .duration import declared_of
from .probe import MEDIA_ERRORS, first_line, opened

HOLE: Seconds = 0.05
"""Stamps that run ahead of the samples by more are of a hole, which is filled with silence."""

_LONGEST: Seconds = 3600.0
"""A hole beyond this is a damaged stamp; it must not fill the memory."""

MOST_SILENCE = 3600 * 48_000
"""Samples of silence that stamps alone may make, unless as many were decoded."""

LOWEST_HZ, HIGHEST_HZ = 1_000, 1_000_000
"""Rates of sound. From 1 Hz to 16 kHz, a file would grow by 16,000 times."""

_ENOUGH = 64
"""So many stamps say where a stretch lies to a fraction of their rounding."""


@dataclass(frozen=True, kw_only=True)
class Soundtrack:
    """A track from beginning to end: mono (samples,) and its rate in Hz.

    `declared` is where it ends by what the file says (None: nothing), `slack` what a healthy file lacks of that, and
    `holes` are the stretches of silence, from and to, where nothing was.
    """

    mono: NDArray[np.float32]
    rate_hz: int
    declared: Seconds | None = None
    slack: Seconds = HOLE
    holes: tuple[tuple[Seconds, Seconds], ...] = ()


def check_rate(rate_hz: float) -> None:
    """Raise MediaError for a rate that no sound has."""
    if not LOWEST_HZ <= rate_hz <= HIGHEST_HZ:
        raise MediaError(f"expected sound of {LOWEST_HZ:,} to {HIGHEST_HZ:,} samples a second, got {rate_hz:,}")


def read_soundtrack(path: Path) -> Soundtrack | None:
    """The default track; None if there is none. What can be decoded of a damaged track counts. Raises MediaError."""
    try:
        with opened(path) as container:
            stream = container.streams.best("audio")
            if stream is None:
                return None
            if not isinstance(stream, av.AudioStream) or getattr(stream, "codec_context", None) is None:
                raise MediaError("the sound is in a codec that cannot be decoded")
            rate_hz, tick = stream.codec_context.sample_rate or SAMPLE_RATE, float(stream.time_base or 0)
            zero = (container.start_time or 0) / 1_000_000
            alone = len(container.streams) == 1
            declared = declared_of(path, container, stream)
            # libavformat rounds Matroska's CodecDelay once more before it takes it off.
            rounding = tick if alone or stream.codec_context.delay else tick / 2
            runs: list[_Run] = []
            longest, file_ends = 0.0, [-zero]
            for frame in _decoded(container, stream, file_ends):
                check_rate(frame.sample_rate)
                longest = max(longest, frame.samples / frame.sample_rate)
                if not runs or runs[-1].ends_before(frame):
                    runs.append(_Run(frame, tick, runs[-1].end if runs else 0.0))
                runs[-1].add(frame)
    except MEDIA_ERRORS as error:
        reason = first_line(getattr(error, "strerror", None) or str(error))
        raise MediaError(f"the sound cannot be decoded ({reason})") from None
    if not runs:
        return Soundtrack(mono=np.zeros(0, np.float32), rate_hz=rate_hz)
    begin = runs[0].beginning(zero, rounding)
    # Nothing else is on the clock of a track alone; but what its edit list puts before zero is not to be heard.
    mono, rate_hz, holes = _in_a_row(runs, min(0.0, begin + max(0.0, zero)) if alone else begin)
    return Soundtrack(
        mono=mono,
        rate_hz=rate_hz,
        holes=holes,
        slack=max(HOLE, min(2 * longest, 2 * HOLE)),
        declared=declared.end(len(mono) / rate_hz, file_ends[0] - zero),
    )


class _Run:
    """A stretch of the track without a hole."""

    def __init__(self, first: av.AudioFrame, tick: Seconds, end: Seconds) -> None:
        """`first`: the frame it will begin with; `tick`: the unit of stamps; `end`: seconds of sound decoded before."""
        self.rate_hz = first.sample_rate
        self.end = end
        self._begin_is_stamped = first.pts is not None
        self._tick = tick
        self._bytes = bytearray()
        self._offsets: list[Seconds] = []

    def add(self, frame: av.AudioFrame) -> None:
        """Append a frame and note its stamp."""
        offset = self._timestamp_offset(frame)
        if offset is not None and len(self._offsets) <= _ENOUGH:
            self._offsets.append(offset)
        self._bytes.extend(_mono(frame).data)
        self.end += frame.samples / self.rate_hz

    def ends_before(self, frame: av.AudioFrame) -> bool:
        """Whether the frame's stamp is not where the run's are, or its rate another.

        One stamp alone, before, proves nothing.
        """
        offset = self._timestamp_offset(frame)
        jumped = offset is not None and len(self._offsets) > 1 and abs(offset - self.timestamp_offset(0.0)) > HOLE
        return jumped or frame.sample_rate != self.rate_hz

    def timestamp_offset(self, otherwise: Seconds) -> Seconds:
        """How far its stamps are ahead of the samples decoded until then; `otherwise` without stamps."""
        if not self._offsets:
            return otherwise
        low, high = self._range()
        # Rounded stamps allow an interval, of which this is the middle; others jitter.
        return (low + high) / 2 if high - low <= 2 * self._tick else median(self._offsets)

    def beginning(self, zero: Seconds, rounding: Seconds) -> Seconds:
        """Where it begins on the container's clock: at its zero if its rounded stamps allow that."""
        if not self._begin_is_stamped or not self._offsets:
            return 0.0
        begin = self.timestamp_offset(zero) - zero
        low, high = self._range()
        return 0.0 if abs(begin) <= rounding - (high - low) / 2 + 1e-9 or abs(begin) > _LONGEST else begin

    def samples(self) -> NDArray[np.float32]:
        """All of it, mono (samples,)."""
        return np.frombuffer(self._bytes, np.float32)

    def _timestamp_offset(self, frame: av.AudioFrame) -> Seconds | None:
        return None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base) - self.end

    def _range(self) -> tuple[Seconds, Seconds]:
        # The first stamp is rounded twice where an encoder's delay was taken off, and wrong in fragmented MP4.
        stamps = self._offsets[1:] or self._offsets
        return min(stamps), max(stamps)


def packet_ends(packet: "Packet[Any]") -> Seconds:
    """When a packet is over, by the container's clock; far in the past where that is not known."""
    if packet.pts is None or packet.time_base is None:
        return -np.inf
    return float((packet.pts + (packet.duration or 0)) * packet.time_base)


def _decoded(container: InputContainer, stream: av.AudioStream, file_ends: list[Seconds]) -> Iterator[av.AudioFrame]:
    """All frames that can be decoded; raise what the decoder raised if there are none.

    Leaves in `file_ends[0]` where the last packet of any track ends, by the container's clock.
    """
    damage: Exception | None = None
    nothing = True
    try:
        for packet in container.demux():
            file_ends[0] = max(file_ends[0], packet_ends(packet))
            if packet.stream.index != stream.index:
                continue
            try:
                frames = stream.decode(packet)
            except av.error.FFmpegError as error:
                damage = error
                continue
            for frame in frames:
                if frame.samples and frame.sample_rate:
                    nothing = False
                    yield frame
    except MEDIA_ERRORS as error:
        damage = error
    if nothing and damage is not None:
        raise damage


def _mono(frame: av.AudioFrame) -> NDArray[np.float32]:
    """The mean of its channels (samples,), full scale being 1."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(frame.samples, -1).T
    mono: NDArray[np.float32] = samples.mean(axis=0, dtype=np.float32)
    if samples.dtype.kind == "f":
        return mono
    mono /= np.float32(2.0 ** (8 * samples.itemsize - 1))
    return mono - 1 if samples.dtype.kind == "u" else mono


def _in_a_row(runs: list[_Run], begin: Seconds) -> tuple[NDArray[np.float32], int, tuple[tuple[Seconds, Seconds], ...]]:
    """All runs with silence between them, the rate that most of them have, and from where to where silence was put.

    Raises MediaError where the stamps make far more silence than there is sound.
    """
    rate_hz = max(runs, key=lambda run: len(run.samples()) / run.rate_hz).rate_hz
    offset: list[Seconds] = []
    for run in runs:
        offset.append(run.timestamp_offset(offset[-1] if offset else 0.0))
    # A jump that is taken back later on was no hole but a damaged stamp, or a new beginning.
    holes = np.diff(np.minimum.accumulate(offset[::-1])[::-1], prepend=offset[0])
    holes[(holes <= HOLE) | (holes >= _LONGEST)] = 0.0
    silence = to_samples(max(0.0, begin) + float(holes.sum()), rate_hz)
    if silence > max(MOST_SILENCE, to_samples(runs[-1].end, rate_hz)):
        raise MediaError(
            f"the sound's time stamps leave {silence / rate_hz:.0f} s without any, of {runs[-1].end:.2f} s"
        )
    parts = [np.zeros(to_samples(max(0.0, begin), rate_hz), np.float32)]
    early, filled = to_samples(max(0.0, -begin), rate_hz), list[tuple[Seconds, Seconds]]()
    for run, hole in zip(runs, holes, strict=True):
        if hole:
            at = (sum(map(len, parts)) - early) / rate_hz
            filled.append((at, at + float(hole)))
            parts.append(np.zeros(to_samples(float(hole), rate_hz), np.float32))
        samples = run.samples()
        parts.append(samples if run.rate_hz == rate_hz else soxr.resample(samples, run.rate_hz, rate_hz, quality="HQ"))
    parts = [part for part in parts if part.size]
    mono = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return mono[early:] if early < len(mono) else mono, rate_hz, tuple(filled)
