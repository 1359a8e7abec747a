"""Sound from disk: any file to 16 kHz mono float32, cut to an utterance."""

from pathlib import Path, PurePosixPath

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ...shared.errors import MediaError
from ...shared.timing import SAMPLE_RATE, Seconds, to_samples
from ...shared.utterance import Utterance
from .audio_track import Soundtrack, check_rate, read_soundtrack
from .duration import declared_sound
from .probe import first_line, probe, regular_file

Wave = NDArray[np.float32]

_SOUNDFILE_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".aif", ".aiff", ".w64", ".caf", ".au"})
_BLOCK = 1 << 16
_FIRST = 1 << 20
"""Samples that are taken on trust; beyond them memory grows with what is really decoded."""

SAME_LENGTH: Seconds = 0.1


class NoAudioTrackError(Exception):
    """The file is in order but holds no sound; the utterance lives on without it."""


class Sound:
    """A media file's whole sound track: mono, at its own rate, time zero being that of the file."""

    def __init__(self, path: Path) -> None:
        """Read it all. Raises MediaError, or NoAudioTrackError."""
        regular_file(path)
        self._track = track = _read(path)
        self.mono, self.rate_hz = track.mono, track.rate_hz
        # Extremes hold every NaN and infinity, and need no second array.
        if not np.isfinite([self.mono.min(initial=0.0), self.mono.max(initial=0.0)]).all():
            raise MediaError("the sound holds NaN or infinite samples")

    @property
    def seconds(self) -> Seconds:
        """Length of the file's sound."""
        return len(self.mono) / self.rate_hz

    @property
    def declared(self) -> Seconds | None:
        """Length that the file says it has, as decoded where that is the same; None where it says nothing."""
        declared = self._track.declared
        return declared if declared is None or declared > self.seconds + self._track.slack else self.seconds

    def missing(self, start: Seconds | None, end: Seconds | None) -> tuple[Seconds, Seconds] | None:
        """Of a stretch, the seconds that the file declares and those of them that are not to be had.

        Padding of the codec, the size of a frame or two, is never missing. None where the file declares nothing.
        """
        if self.declared is None:
            return None
        first = start or 0.0
        last = self.declared if end is None else min(end, self.declared)
        lost = max(0.0, last - max(first, self.seconds))
        lost += sum(max(0.0, min(last, to) - max(first, since)) for since, to in self._track.holes)
        return (last - first, 0.0 if lost <= self._track.slack else lost) if last > first else None

    def cut(self, start: Seconds | None, end: Seconds | None, *, whole: bool = False) -> Wave:
        """A stretch as 16 kHz mono, (samples,), as far as the file goes; `whole` for a file that has been cut already.

        Raises MediaError if the file ends before the stretch begins.
        """
        first, last = (0, len(self.mono)) if whole else (to_samples(start or 0.0, self.rate_hz), len(self.mono))
        if end is not None and not whole:
            last = min(last, to_samples(end, self.rate_hz))
        if first >= last:
            declared = self.declared
            cut_off = f" (cut off: it declares {declared:.2f} s)" if declared and declared > self.seconds else ""
            raise MediaError(
                f"expected sound from {start or 0.0:g} s on, got a file of {self.seconds:.2f} s{cut_off}"
                if self.mono.size
                else "expected sound, got a track without samples"
            )
        stretch = self.mono[first:last]
        if self.rate_hz != SAMPLE_RATE:
            stretch = soxr.resample(stretch, self.rate_hz, SAMPLE_RATE, quality="HQ")
        return np.ascontiguousarray(stretch, np.float32)


def already_cut(seconds: Seconds, utterance: Utterance) -> bool:
    """Whether a sound file of this length holds just its utterance, and not the dialog that `start` and `end` are of.

    IEMOCAP times its utterances in the dialog's video and gives the sound sentence by sentence. Such a file ends
    before the utterance would, and it is as long as the utterance or called by its id.
    """
    if utterance.end is None or utterance.seconds is None or seconds >= utterance.end:
        return False
    if PurePosixPath(utterance.audio).stem == utterance.id:
        return True
    return abs(seconds - utterance.seconds) < min(SAME_LENGTH, utterance.end - seconds)


def _read(path: Path) -> Soundtrack:
    """The whole track, at the file's own rate."""
    if path.suffix.lower() not in _SOUNDFILE_SUFFIXES:
        return _read_container(path)
    try:
        return _read_soundfile(path)
    except (soundfile.LibsndfileError, RuntimeError, ValueError, MemoryError) as error:
        try:
            return _read_container(path)
        except (MediaError, NoAudioTrackError) as second:
            if isinstance(second, NoAudioTrackError) and probe(path).video_codec is not None:
                raise
            reason = first_line(str(error).rsplit(":", 1)[-1].strip())
            raise MediaError(f"the sound cannot be read ({reason})") from None


def _read_soundfile(path: Path) -> Soundtrack:
    """Block by block, so that never more than the mono sound is in memory. Raises what soundfile raises."""
    with soundfile.SoundFile(path) as file:
        check_rate(file.samplerate)
        mono = np.empty(min(file.frames, _FIRST), np.float32)
        buffer = np.empty((max(1, _BLOCK // file.channels), file.channels), np.float32)
        count = 0
        while len(block := file.read(out=buffer[: file.frames - count])):
            if count + len(block) > len(mono):
                # In place, where the C library can: there are never two of it.
                mono.resize(min(file.frames, 2 * len(mono)), refcheck=False)
            block.mean(axis=1, out=mono[count : count + len(block)])
            count += len(block)
        mono.resize(count, refcheck=False)
        declared = declared_sound(path, file.format, file.frames / file.samplerate)
        return Soundtrack(mono=mono, rate_hz=int(file.samplerate), declared=declared)


def _read_container(path: Path) -> Soundtrack:
    track = read_soundtrack(path)
    if track is None:
        raise NoAudioTrackError
    return track
