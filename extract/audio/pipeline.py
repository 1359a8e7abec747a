"""From sound files to the hidden states of their utterances: decoded ahead, encoded alone or in batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ...shared.errors import MediaError
from ...shared.parallel.prefetch import prefetch
from ...shared.store.shard import Entry
from ...shared.timing import AUDIO_FRAME_SAMPLES, AUDIO_ORIGIN, SAMPLE_RATE, Seconds
from ...shared.utterance import Utterance
from ..media.media_group import Part, Results, as_media_error, check_stretch
from ..media.waveform import SAME_LENGTH, NoAudioTrackError, Sound, Wave, already_cut
from .encoder import AudioEncoder


@dataclass(frozen=True, kw_only=True)
class Cut:
    """An utterance's sound, (samples,) at 16 kHz; and of its stretch the seconds that the file declares and lacks."""

    wave: Wave
    missing: tuple[Seconds, Seconds] | None


Heard = tuple[Part, Utterance, Cut | Entry | MediaError]
"""An utterance's sound; or at once what comes of it, where there is nothing to encode."""

QUEUE_BYTES = 64 << 20
POOL_BATCHES = 8
"""Batches' worth of waves that are sorted by length together."""

FULL_SCALE, SILENCE = 0.999, 1e-3
"""Samples beyond the one are clipped; a hundredth of a second below the other (-60 dB) is silence."""


def audio_entries(parts: Sequence[Part], encoder: AudioEncoder, *, decoders: int) -> Results:
    """The features of all utterances, in the order given; a file that cannot be read costs its own only.

    What the encoder raises is raised.
    """
    pool: list[Heard] = []
    jobs = [partial(hear, part, encoder.frame_shape) for part in parts]
    with prefetch(jobs, threads=decoders, size=_bytes, budget=QUEUE_BYTES) as queues:
        for queue in queues:
            for item in queue:
                pool.append(item)
                if _samples(pool) >= POOL_BATCHES * encoder.batch_samples:
                    yield from _encoded(pool, encoder)
                    pool = []
        yield from _encoded(pool, encoder)


def hear(part: Part, frame_shape: tuple[int, ...]) -> Iterator[Heard]:
    """Decode a file; in a thread of its own."""
    try:
        if part.path is None:
            yield from ((part, *result) for result in part.without(frame_shape, part.unnamed))
            return
        sound = Sound(part.path)
    except NoAudioTrackError:
        yield from ((part, *result) for result in part.without(frame_shape, "no audio track"))
    except Exception as error:
        yield from ((part, *result) for result in part.failed(error))
    else:
        for utterance in part.utterances:
            try:
                check_stretch(utterance)
                # By the declared length: what is left of a dialog may well be as long as one of its utterances.
                whole = already_cut(sound.declared or sound.seconds, utterance)
                wave = sound.cut(utterance.start, utterance.end, whole=whole)
                stretch = (None, None) if whole else (utterance.start, utterance.end)
                yield part, utterance, Cut(wave=wave, missing=sound.missing(*stretch))
            except Exception as error:
                yield part, utterance, as_media_error(error)


def _encoded(pool: Sequence[Heard], encoder: AudioEncoder) -> Results:
    waves = [sound.wave for _, _, sound in pool if isinstance(sound, Cut)]
    states = iter(encoder.encode(waves))
    for part, utterance, sound in pool:
        if isinstance(sound, Cut):
            yield utterance, _entry(part, utterance, sound, next(states))
        else:
            yield utterance, sound


def _entry(part: Part, utterance: Utterance, cut: Cut, values: NDArray[np.float32]) -> Entry:
    quality = sound_quality(cut.wave)
    if cut.missing is not None:
        wanted, missing = cut.missing
        quality["decoded"] = 1.0 - min(1.0, missing / wanted)
    return Entry(
        id=utterance.id,
        values=values,
        valid=np.ones(len(values), bool),
        origin=(utterance.start or 0.0) + AUDIO_ORIGIN,
        source=utterance.source("audio"),
        media=part.fingerprint,
        note=_note(cut, utterance),
        quality=quality,
    )


def sound_quality(wave: Wave) -> dict[str, float]:
    """Of a wave (samples,), full scale being 1: the share of clipped samples, and of its time that is silent."""
    hundredths = np.array_split(wave, max(1, round(len(wave) / SAMPLE_RATE * 100)))
    silent = [float(np.sqrt(np.mean(np.square(part)))) < SILENCE for part in hundredths]
    return {"clipping": float(np.mean(np.abs(wave) >= FULL_SCALE)), "silence": float(np.mean(silent))}


def _note(cut: Cut, utterance: Utterance) -> str:
    if cut.missing is not None and cut.missing[1]:
        wanted, missing = cut.missing
        return f"only {max(0.0, wanted - missing):.2f} of {wanted:.2f} s of sound could be decoded"
    if len(cut.wave) < AUDIO_FRAME_SAMPLES:
        return "shorter than 25 ms, filled up with silence"
    got, length = len(cut.wave) / SAMPLE_RATE, utterance.seconds
    if length is not None and abs(got - length) > SAME_LENGTH:
        return f"{got:.2f} s of sound for an utterance of {length:.2f} s"
    return ""


def _samples(pool: Sequence[Heard]) -> int:
    return sum(len(sound.wave) for _, _, sound in pool if isinstance(sound, Cut))


def _bytes(item: Heard) -> int:
    return item[2].wave.nbytes if isinstance(item[2], Cut) else 0
