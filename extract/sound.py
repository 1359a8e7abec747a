"""Sound from disk: any file to 16 kHz mono float32, cut to an utterance."""

from pathlib import Path, PurePosixPath

import av
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ..shared.errors import MediaError
from ..shared.timing import SAMPLE_RATE, Seconds, to_samples
from ..shared.utterance import Utterance
from .probe import MEDIA_ERRORS, regular_file

Wave = NDArray[np.float32]

_SOUNDFILE_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".aif", ".aiff", ".w64", ".caf", ".au"})
SAME_LENGTH: Seconds = 0.1


class NoAudioTrackError(Exception):
    """The file is in order but holds no sound; the utterance lives on without it."""


class Sound:
    """A media file's whole sound track: mono, at its own rate, time zero being that of the file."""

    def __init__(self, path: Path) -> None:
        """Read it all. Raises MediaError, or NoAudioTrackError."""
        regular_file(path)
        self.mono, self.rate_hz = _read_soundfile(path) if _is_plain(path) else _read_container(path)
        if not np.isfinite(self.mono).all():
            raise MediaError("the sound holds NaN or infinite samples")

    @property
    def seconds(self) -> Seconds:
        """Length of the file's sound."""
        return len(self.mono) / self.rate_hz

    def cut(self, start: Seconds | None, end: Seconds | None, *, whole: bool = False) -> Wave:
        """A stretch as 16 kHz mono, (samples,), as far as the file goes; `whole` for a file that has been cut already.

        Raises MediaError if the file ends before the stretch begins.
        """
        first, last = (0, len(self.mono)) if whole else (to_samples(start or 0.0, self.rate_hz), len(self.mono))
        if end is not None and not whole:
            last = min(last, to_samples(end, self.rate_hz))
        if first >= last:
            raise MediaError(
                f"expected sound from {start or 0.0:g} s on, got a file of {self.seconds:.2f} s"
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


def _is_plain(path: Path) -> bool:
    return path.suffix.lower() in _SOUNDFILE_SUFFIXES


def _read_soundfile(path: Path) -> tuple[Wave, int]:
    try:
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        try:
            return _read_container(path)
        except MediaError:
            raise MediaError(f"the sound cannot be read ({str(error).rsplit(':', 1)[-1].strip()})") from None
    return samples.mean(axis=1, dtype=np.float32), int(rate_hz)


def _read_container(path: Path) -> tuple[Wave, int]:
    """Decode the default track from beginning to end; what can be decoded of a damaged one counts."""
    pieces: list[Wave] = []
    try:
        with av.open(str(path)) as container:
            stream = container.streams.best("audio")
            if stream is None:
                raise NoAudioTrackError
            if not isinstance(stream, av.AudioStream) or getattr(stream, "codec_context", None) is None:
                raise MediaError("the sound is in a codec that cannot be decoded")
            rate_hz = stream.codec_context.sample_rate
            to_float = av.AudioResampler(format="fltp")
            silence = 0
            try:
                for frame in container.decode(stream):
                    if not pieces and frame.pts is not None and frame.time_base is not None:
                        zero = (container.start_time or 0) / 1_000_000
                        silence = max(0, to_samples(float(frame.pts * frame.time_base) - zero, rate_hz))
                    pieces += [_mono(part) for part in to_float.resample(frame)]
                pieces += [_mono(part) for part in to_float.resample(None)]
            except MEDIA_ERRORS:
                if not pieces:
                    raise
    except MEDIA_ERRORS as error:
        reason = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise MediaError(f"the sound cannot be decoded ({reason})") from None
    # A track may begin later than the picture; silence before it keeps both on one clock.
    return np.concatenate([np.zeros(silence, np.float32), *pieces]), rate_hz


def _mono(frame: av.AudioFrame) -> Wave:
    mono: Wave = frame.to_ndarray().mean(axis=0, dtype=np.float32)
    return mono
