"""From the audio files of a chunk to the audio features of their utterances.

`decode_audio` runs in threads, one file each, ahead of the encoder; `audio_entries` collects the waveforms of several
batches, so that the encoder can sort them by length, and yields the entries in the order of the utterances.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...shared.config.settings import Channel
from ...shared.errors import MediaError
from ...shared.parallel.prefetch import prefetch
from ...shared.parallel.resources import MIN_DECODE_BYTES
from ...shared.store.shard import Entry
from ...shared.timing import SAMPLE_RATE, Seconds
from ...shared.utterance import Utterance
from ..media.channels import CANCELLED_NOTE
from ..media.media_group import MediaGroup, Results, as_media_error, check_times
from ..media.waveform import LENGTH_TOLERANCE, NoAudioTrackError, Wave, Waveform, is_utterance_clip

POOL_BATCHES = 8
"""Batches' worth of waveforms that are sorted by length together."""

CLIPPING_LEVEL = 0.999
"""Samples at or above it count as clipped, full scale being 1."""

SILENCE_LEVEL = 1e-3
"""A hundredth of a second with a lower RMS (-60 dB) counts as silent."""


@dataclass(frozen=True, kw_only=True)
class AudioClip:
    """Audio of an utterance.

    Attributes:
        wave: samples (samples,) at 16 kHz.
        missing: declared seconds of the utterance, and those that could not be decoded; None if unknown.
        cancelled: whether the channels of the file cancel in their mean.
    """

    wave: Wave
    missing: tuple[Seconds, Seconds] | None
    cancelled: bool = False


DecodedAudio = tuple[MediaGroup, Utterance, AudioClip | Entry | MediaError]
"""Audio of an utterance; or its result, where there is nothing to encode."""


class WaveEncoder(Protocol):
    """An audio encoder: `AudioEncoder` or `SmileEncoder`, which describe the attributes."""

    frame_shape: tuple[int, ...]
    rate_hz: float
    shortest_samples: int
    batch_samples: int

    def origin(self, samples: int) -> Seconds:
        """Time of the first frame of a waveform of so many samples, relative to its start."""
        ...

    def encode(self, waves: Sequence[Wave]) -> list[NDArray[np.float32]]:
        """Features (t_a, [layers,] d_a) of each waveform (samples,) at 16 kHz."""
        ...


def audio_entries(
    groups: Sequence[MediaGroup],
    encoder: WaveEncoder,
    *,
    decoders: int,
    channel: Channel = "mean",
    budget: int = MIN_DECODE_BYTES,
) -> Results:
    """Extract the features of all utterances, in the order given.

    Args:
        groups: the media files with their utterances. One that cannot be decoded costs its own utterances only.
        encoder: the encoder.
        decoders: number of files decoded at the same time.
        channel: channel of the recordings to encode.
        budget: bytes of waveforms decoded ahead.

    Raises:
        Exception: any error of the encoder.
    """
    pool: list[DecodedAudio] = []
    jobs = [partial(decode_audio, group, encoder.frame_shape, channel) for group in groups]
    with prefetch(jobs, threads=decoders, size=_wave_bytes, budget=budget) as queues:
        for queue in queues:
            for item in queue:
                pool.append(item)
                if _samples(pool) >= POOL_BATCHES * encoder.batch_samples:
                    yield from _encode_pool(pool, encoder)
                    pool = []
        yield from _encode_pool(pool, encoder)


def decode_audio(group: MediaGroup, frame_shape: tuple[int, ...], channel: Channel = "mean") -> Iterator[DecodedAudio]:
    """Decode a file once for all its utterances; runs in a thread of its own.

    Args:
        group: the file and its utterances.
        frame_shape: shape of one frame of the features, for utterances without audio.
        channel: channel of the recording to decode.
    """
    try:
        if group.path is None:
            yield from ((group, *result) for result in group.empty_entries(frame_shape, group.missing_note))
            return
        waveform = Waveform(group.path, channel=channel)
    except NoAudioTrackError:
        yield from ((group, *result) for result in group.empty_entries(frame_shape, "no audio track"))
    except Exception as error:
        yield from ((group, *result) for result in group.error_results(error))
    else:
        for utterance in group.utterances:
            try:
                yield group, utterance, _cut(waveform, utterance)
            except Exception as error:
                yield group, utterance, as_media_error(error)


def _cut(waveform: Waveform, utterance: Utterance) -> AudioClip:
    check_times(utterance)
    # By the declared duration: a truncated dialog may be as long as one of its utterances.
    whole = is_utterance_clip(waveform.declared or waveform.seconds, utterance)
    wave = waveform.cut(utterance.start, utterance.end, whole=whole)
    start, end = (None, None) if whole else (utterance.start, utterance.end)
    return AudioClip(wave=wave, missing=waveform.missing(start, end), cancelled=waveform.cancelled)


def _encode_pool(pool: Sequence[DecodedAudio], encoder: WaveEncoder) -> Results:
    waves = [clip.wave for _, _, clip in pool if isinstance(clip, AudioClip)]
    states = iter(encoder.encode(waves))
    for group, utterance, clip in pool:
        if isinstance(clip, AudioClip):
            yield utterance, _entry(group, utterance, clip, next(states), encoder)
        else:
            yield utterance, clip


def _entry(
    group: MediaGroup, utterance: Utterance, clip: AudioClip, values: NDArray[np.float32], encoder: WaveEncoder
) -> Entry:
    quality = sound_quality(clip.wave)
    if clip.missing is not None:
        declared, missing = clip.missing
        quality["decoded"] = 1.0 - min(1.0, missing / declared)
    return Entry(
        id=utterance.id,
        values=values,
        valid=np.ones(len(values), bool),
        origin=(utterance.start or 0.0) + encoder.origin(len(clip.wave)),
        source=utterance.source("audio"),
        media=group.fingerprint,
        note=_note(clip, utterance, encoder.shortest_samples),
        quality=quality,
    )


def sound_quality(wave: Wave) -> dict[str, float]:
    """Share of clipped samples and of silent hundredths of a second, of a waveform (samples,) at 16 kHz."""
    hundredths = np.array_split(wave, max(1, round(len(wave) / SAMPLE_RATE * 100)))
    silent = [float(np.sqrt(np.mean(np.square(part)))) < SILENCE_LEVEL for part in hundredths]
    return {"clipping": float(np.mean(np.abs(wave) >= CLIPPING_LEVEL)), "silence": float(np.mean(silent))}


def _note(clip: AudioClip, utterance: Utterance, shortest_samples: int) -> str:
    notes = [_length_note(clip, utterance, shortest_samples), CANCELLED_NOTE if clip.cancelled else ""]
    return "; ".join(note for note in notes if note)


def _length_note(clip: AudioClip, utterance: Utterance, shortest_samples: int) -> str:
    if clip.missing is not None and clip.missing[1]:
        declared, missing = clip.missing
        return f"only {max(0.0, declared - missing):.2f} of {declared:.2f} s of audio could be decoded"
    if len(clip.wave) < shortest_samples:
        return f"shorter than {shortest_samples * 1000 / SAMPLE_RATE:g} ms, filled up with silence"
    seconds = len(clip.wave) / SAMPLE_RATE
    if utterance.seconds is not None and abs(seconds - utterance.seconds) > LENGTH_TOLERANCE:
        return f"{seconds:.2f} s of audio for an utterance of {utterance.seconds:.2f} s"
    return ""


def _samples(pool: Sequence[DecodedAudio]) -> int:
    return sum(len(clip.wave) for _, _, clip in pool if isinstance(clip, AudioClip))


def _wave_bytes(item: DecodedAudio) -> int:
    return item[2].wave.nbytes if isinstance(item[2], AudioClip) else 0
