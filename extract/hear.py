"""From sound files to the hidden states of their utterances: decoded ahead, encoded alone or in batches."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..shared.ahead import ahead
from ..shared.errors import MediaError
from ..shared.shard import Entry
from ..shared.timing import AUDIO_FRAME_SAMPLES, AUDIO_ORIGIN, SAMPLE_RATE
from ..shared.utterance import Utterance
from .audio import AudioEncoder
from .part import Part, Results, as_media_error
from .sound import SAME_LENGTH, NoAudioTrackError, Sound, Wave, already_cut

Heard = tuple[Part, Utterance, Wave | Entry | MediaError]
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
    with ahead(jobs, threads=decoders, size=_bytes, budget=QUEUE_BYTES) as lanes:
        for lane in lanes:
            for item in lane:
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
                whole = already_cut(sound.seconds, utterance)
                yield part, utterance, sound.cut(utterance.start, utterance.end, whole=whole)
            except Exception as error:
                yield part, utterance, as_media_error(error)


def _encoded(pool: Sequence[Heard], encoder: AudioEncoder) -> Results:
    waves = [sound for _, _, sound in pool if isinstance(sound, np.ndarray)]
    states = iter(encoder.encode(waves))
    for part, utterance, sound in pool:
        if isinstance(sound, np.ndarray):
            yield utterance, _entry(part, utterance, sound, next(states))
        else:
            yield utterance, sound


def _entry(part: Part, utterance: Utterance, wave: Wave, values: NDArray[np.float32]) -> Entry:
    return Entry(
        id=utterance.id,
        values=values,
        valid=np.ones(len(values), bool),
        origin=(utterance.start or 0.0) + AUDIO_ORIGIN,
        source=utterance.source("audio"),
        media=part.fingerprint,
        note=_note(len(wave), utterance),
        quality=sound_quality(wave),
    )


def sound_quality(wave: Wave) -> dict[str, float]:
    """Of a wave (samples,), full scale being 1: the share of clipped samples, and of its time that is silent."""
    hundredths = np.array_split(wave, max(1, round(len(wave) / SAMPLE_RATE * 100)))
    silent = [float(np.sqrt(np.mean(np.square(part)))) < SILENCE for part in hundredths]
    return {"clipping": float(np.mean(np.abs(wave) >= FULL_SCALE)), "silence": float(np.mean(silent))}


def _note(samples: int, utterance: Utterance) -> str:
    if samples < AUDIO_FRAME_SAMPLES:
        return "shorter than 25 ms, filled up with silence"
    got, wanted = samples / SAMPLE_RATE, utterance.seconds
    if wanted is not None and abs(got - wanted) > SAME_LENGTH:
        return f"{got:.2f} s of sound for an utterance of {wanted:.2f} s"
    return ""


def _samples(pool: Sequence[Heard]) -> int:
    return sum(len(sound) for _, _, sound in pool if isinstance(sound, np.ndarray))


def _bytes(item: Heard) -> int:
    return item[2].nbytes if isinstance(item[2], np.ndarray) else 0
