"""Audio of a media file as a mono waveform, cut into utterances at 16 kHz."""

from pathlib import Path, PurePosixPath

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ...shared.config.settings import Channel
from ...shared.errors import MediaError
from ...shared.timing import SAMPLE_RATE, Seconds, to_samples
from ...shared.utterance import Utterance
from .audio_track import AudioTrack, check_rate, read_audio_track
from .channels import Mixer
from .duration import declared_sound_duration
from .probe import check_regular_file, first_line, probe

Wave = NDArray[np.float32]
"""Samples (samples,) at 16 kHz, full scale being 1."""

LENGTH_TOLERANCE: Seconds = 0.1
"""Difference up to which an audio file is as long as its utterance."""

_SOUNDFILE_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".aif", ".aiff", ".w64", ".caf", ".au"})
_BLOCK_SAMPLES = 1 << 16
_TRUSTED_SAMPLES = 1 << 20
"""Samples allocated by the header alone; beyond them memory grows with what is decoded."""


class NoAudioTrackError(Exception):
    """The file is intact but has no audio track; the utterance is kept without it."""


class Waveform:
    """The whole audio of a media file: mono, at its own rate, time zero being that of the file.

    Attributes:
        mono: the mixed channels, (samples,), full scale being 1.
        rate_hz: sample rate.
        cancelled: whether the channels cancel in their mean.
    """

    def __init__(self, path: Path, *, channel: Channel = "mean") -> None:
        """Decode the file and take one channel of it, or their mean. Raises MediaError or NoAudioTrackError."""
        check_regular_file(path)
        self._track = _read(path, channel)
        self.cancelled = self._track.cancelled
        self.mono = self._track.mono
        self.rate_hz = self._track.rate_hz
        # The extremes contain every NaN and infinity, and need no second array.
        if not np.isfinite([self.mono.min(initial=0.0), self.mono.max(initial=0.0)]).all():
            raise MediaError("the audio contains NaN or infinite samples")

    @property
    def seconds(self) -> Seconds:
        """Decoded duration."""
        return len(self.mono) / self.rate_hz

    @property
    def declared(self) -> Seconds | None:
        """Duration by the file's header, `seconds` where that is the same; None if unknown."""
        declared = self._track.declared
        return declared if declared is None or declared > self.seconds + self._track.tolerance else self.seconds

    def missing(self, start: Seconds | None, end: Seconds | None) -> tuple[Seconds, Seconds] | None:
        """Compare a segment with the duration that the file declares.

        Returns:
            Declared seconds of the segment, and those of them that could not be decoded. An encoder's padding of a
            frame or two counts as decoded. None if the file declares no duration.
        """
        if self.declared is None:
            return None
        first = start or 0.0
        last = self.declared if end is None else min(end, self.declared)
        if last <= first:
            return None
        lost = max(0.0, last - max(first, self.seconds))
        for gap_start, gap_end in self._track.gaps:
            lost += max(0.0, min(last, gap_end) - max(first, gap_start))
        return last - first, 0.0 if lost <= self._track.tolerance else lost

    def cut(self, start: Seconds | None, end: Seconds | None, *, whole: bool = False) -> Wave:
        """Cut out a segment and resample it.

        Args:
            start: in seconds; None for the start of the file.
            end: in seconds; None for the end of the file. The file may end earlier.
            whole: ignore start and end, since the file contains the utterance only (`is_utterance_clip`).

        Returns:
            Samples at 16 kHz, (samples,).

        Raises:
            MediaError: the file ends before the segment begins.
        """
        first = 0 if whole else to_samples(start or 0.0, self.rate_hz)
        last = len(self.mono)
        if end is not None and not whole:
            last = min(last, to_samples(end, self.rate_hz))
        if first >= last:
            declared = self.declared
            cut_off = f" (truncated: it declares {declared:.2f} s)" if declared and declared > self.seconds else ""
            raise MediaError(
                f"expected audio from {start or 0.0:g} s on, got a file of {self.seconds:.2f} s{cut_off}"
                if self.mono.size
                else "expected audio, got a track without samples"
            )
        samples = self.mono[first:last]
        if self.rate_hz != SAMPLE_RATE:
            samples = soxr.resample(samples, self.rate_hz, SAMPLE_RATE, quality="HQ")
        return np.ascontiguousarray(samples, np.float32)


def is_utterance_clip(seconds: Seconds, utterance: Utterance) -> bool:
    """Whether an audio file contains its utterance only, and not the dialog that `start` and `end` refer to.

    IEMOCAP times its utterances in the dialog's video, but has one audio file per utterance. Such a file ends before
    the utterance would, and is as long as the utterance or named by its id.

    Args:
        seconds: duration of the file.
        utterance: an utterance of that file.
    """
    if utterance.end is None or utterance.seconds is None or seconds >= utterance.end:
        return False
    if PurePosixPath(utterance.audio).stem == utterance.id:
        return True
    return abs(seconds - utterance.seconds) < min(LENGTH_TOLERANCE, utterance.end - seconds)


def _read(path: Path, channel: Channel) -> AudioTrack:
    """Read the whole track, at the file's own rate."""
    if path.suffix.lower() not in _SOUNDFILE_SUFFIXES:
        return _read_container(path, channel)
    try:
        return _read_soundfile(path, Mixer(channel))
    except (soundfile.LibsndfileError, RuntimeError, ValueError, MemoryError) as error:
        try:
            return _read_container(path, channel)
        except (MediaError, NoAudioTrackError) as second:
            if isinstance(second, NoAudioTrackError) and probe(path).video_codec is not None:
                raise
            reason = first_line(str(error).rsplit(":", 1)[-1].strip())
            raise MediaError(f"the audio cannot be read ({reason})") from None


def _read_soundfile(path: Path, mixer: Mixer) -> AudioTrack:
    """Read block by block, so that the mono samples are all that is in memory. Raises the errors of soundfile."""
    with soundfile.SoundFile(path) as file:
        check_rate(file.samplerate)
        mono = np.empty(min(file.frames, _TRUSTED_SAMPLES), np.float32)
        buffer = np.empty((max(1, _BLOCK_SAMPLES // file.channels), file.channels), np.float32)
        count = 0
        while len(block := file.read(out=buffer[: file.frames - count])):
            if count + len(block) > len(mono):
                # In place where the C library can: never two copies.
                mono.resize(min(file.frames, 2 * len(mono)), refcheck=False)
            mono[count : count + len(block)] = mixer.mono(block.T)
            count += len(block)
        mono.resize(count, refcheck=False)
        declared = declared_sound_duration(path, file.format, file.frames / file.samplerate)
        return AudioTrack(mono=mono, rate_hz=int(file.samplerate), cancelled=mixer.cancelled, declared=declared)


def _read_container(path: Path, channel: Channel) -> AudioTrack:
    track = read_audio_track(path, Mixer(channel))
    if track is None:
        raise NoAudioTrackError
    return track
