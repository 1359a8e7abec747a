"""The voices of the synthetic corpus: meaningless syllables, pulses and noise filtered by resonances."""

import numpy as np
from numpy.typing import NDArray

from ...shared.timing import SAMPLE_RATE  # the same as IEMOCAP's
from .cast import Voice

_WINDOW, _HOP, _TRANSFORM = 512, 128, 1024  # samples; the transform is longer to hold the decay of the resonances
_HZ = np.fft.rfftfreq(_TRANSFORM, 1 / SAMPLE_RATE)

# The first four resonances in Hz of an average adult's vowels a, e, i, o, u and the one in "the".
_VOWELS = np.array(
    [
        [730, 1250, 2550, 3600],
        [530, 1850, 2500, 3600],
        [290, 2250, 2950, 3700],
        [500, 900, 2450, 3500],
        [320, 820, 2300, 3400],
        [500, 1450, 2450, 3550],
    ],
    np.float64,
)
_BANDWIDTHS = np.array([80, 100, 140, 220], np.float64)  # Hz, of those resonances
_SMILE_OCTAVES = 0.08  # by which resonances rise per unit of valence
_SMILE_DB = 5.0  # by which the band of the third resonance rises per unit of valence
_SMILE_BAND = np.exp(-2 * np.log2(np.maximum(_HZ, 1) / 2800) ** 2)  # (f,)
_CONSONANTS_HZ = (1500, 2500, 3800, 5200, 6200)  # where the noise of a consonant is strongest


def synthesize_voice(
    voice: Voice, arousal: float, valence: float, samples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Synthesize one utterance.

    Args:
        voice: the voice of the actor.
        arousal: about -1 (calm) to 1 (aroused); changes pitch, pitch range, tempo, loudness and spectral slope.
        valence: about -1 (negative) to 1 (positive). A smile shortens the vocal tract, which raises all resonances; a
            negative voice falls in pitch, is breathy, creaks, cuts vowels short and has sharper consonants.
        samples: length at 16 kHz.
        rng: draws the syllables independently of arousal and valence.

    Returns:
        (samples,) within [-1, 1].
    """
    # Averaged over the random vowels, a small encoder notices cut vowels best (docs/decisions.md, 80).
    hold = float(np.clip(0.66 + 0.30 * valence, 0.3, 1))
    voicing, bursts, anchors = _syllables(voice.tempo * 2 ** (0.25 * arousal), hold, samples, rng)
    frames = np.arange(samples // _HOP + 1) * _HOP  # (t,) middle of each frame in samples

    octaves = np.interp(np.arange(samples), anchors, rng.uniform(-1, 1, len(anchors)))
    octaves = octaves * 0.13 * 2 ** (0.6 * arousal) + np.linspace(0.5, -0.5, samples) * (0.16 - 0.14 * valence)
    creak = 0.35 * np.clip(0.5 - 0.5 * valence, 0, 1)
    source = _pulses(voice.pitch_hz * 2 ** (0.30 * arousal + octaves), creak, rng)
    source += 0.06 * voice.breath * 2 ** (-1.2 * valence) * rng.standard_normal(samples)
    formants = voice.formants * 2 ** (_SMILE_OCTAVES * valence)
    vowels = formants * _VOWELS[rng.integers(len(_VOWELS), size=len(anchors))]  # (syllables, 4)
    resonances = np.stack([np.interp(frames, anchors, track) for track in vowels.T], axis=1)  # (t, 4)
    slope = 1.05 - 0.30 * arousal  # an aroused voice has a flatter spectrum
    tilt = np.maximum(_HZ / 400, 1) ** -slope * 10 ** (_SMILE_DB / 20 * valence * _SMILE_BAND)  # (f,)
    speech = voicing * _filtered(source, _resonance(resonances, _BANDWIDTHS) * tilt)

    hiss = rng.choice(_CONSONANTS_HZ, size=len(anchors)) * 2 ** (2 * _SMILE_OCTAVES * valence)
    centres = np.interp(frames, anchors, hiss)[:, None]  # (t, 1)
    noise = bursts * _filtered(rng.standard_normal(samples), _resonance(centres, np.array([1400.0])))

    speech = speech / _rms(speech) + 10 ** ((-12 + 4 * arousal - 3 * valence) / 20) * noise / _rms(noise)
    speech *= 10 ** ((-29 + 4.5 * arousal) / 20) / _rms(speech)
    speech += 10 ** (-66 / 20) * rng.standard_normal(samples)  # the room
    bounded: NDArray[np.float64] = np.tanh(speech)
    return bounded


def mouth_opening(sound: NDArray[np.float64], seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The opening of the mouth at times (n,) of a voice `sound` (samples,): 0 to 1, relative to its loudest part."""
    width = SAMPLE_RATE // 20  # 50 ms, about the speed of a jaw
    energy = np.convolve(sound**2, np.full(width, 1 / width), mode="same")
    at = np.interp(seconds * SAMPLE_RATE, np.arange(len(sound)), np.sqrt(np.maximum(energy, 0)), left=0, right=0)
    opening: NDArray[np.float64] = np.clip(at / np.sqrt(np.quantile(energy, 0.95)), 0, 1)
    return opening


def _syllables(
    tempo: float, hold: float, samples: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Loudness over time (samples,) of vowels and of consonants, and the middle of each vowel in samples (syllables,).

    `tempo` is in syllables per second, `hold` the share of its time that a vowel lasts; silence follows.
    """
    margin = SAMPLE_RATE // 30  # silence before and after
    count = max(2, round((samples - 2 * margin) / SAMPLE_RATE * tempo))
    shares = rng.uniform(0.75, 1.3, count)
    edges = margin + np.cumsum([0.0, *shares]) / shares.sum() * (samples - 2 * margin)
    begins, ends = edges[:-1].astype(np.int64), edges[1:].astype(np.int64)
    onsets = begins + ((ends - begins) * rng.uniform(0.2, 0.36, count)).astype(np.int64)  # where the vowel starts
    voicing, bursts = np.zeros(samples), np.zeros(samples)
    for begin, onset, end in zip(begins, onsets, ends, strict=True):
        bursts[begin:onset] = rng.uniform(0.5, 1.0) * np.sin(np.linspace(0, np.pi, onset - begin))
        held = round(hold * (end - onset))
        voicing[onset : onset + held] = rng.uniform(0.6, 1.0) * np.sin(np.linspace(0, np.pi, held)).clip(0) ** 0.6
    return voicing, bursts, (onsets + ends) // 2


def _pulses(pitch_hz: NDArray[np.float64], creak: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Glottal pulses (samples,) at the pitch (samples,) in Hz, with a little jitter; `creak` weakens every second."""
    turns = np.cumsum(pitch_hz) / SAMPLE_RATE
    beats = np.arange(1, int(turns[-1]))
    times = np.interp(beats + 0.012 * rng.standard_normal(len(beats)), turns, np.arange(len(turns)))
    whole = times.astype(np.int64)
    strength = 1 - creak * (beats % 2)
    pulses = np.zeros(len(pitch_hz) + 1)
    np.add.at(pulses, whole, strength * (whole + 1 - times))  # a pulse between two samples is shared by them
    np.add.at(pulses, whole + 1, strength * (times - whole))
    return pulses[:-1]


def _resonance(centres_hz: NDArray[np.float64], bandwidths_hz: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Response (t, f) of resonances in series, centres (t, k) and bandwidths (k,), 1 at 0 Hz."""
    centres = centres_hz[:, :, None]
    each = centres**2 / (centres**2 - _HZ**2 + 1j * _HZ * bandwidths_hz[:, None])  # (t, k, f)
    response: NDArray[np.complex128] = each.prod(axis=1)
    return response


def _filtered(source: NDArray[np.float64], response: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Filter the source (samples,) with a response that changes over time, (t, f), in overlapping windows."""
    window = np.hanning(_WINDOW + 1)[:-1]
    padded = np.pad(source, (_WINDOW // 2, _TRANSFORM))
    starts = np.arange(len(response)) * _HOP
    pieces = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[starts] * window  # (t, window)
    shaped = np.fft.irfft(np.fft.rfft(pieces, _TRANSFORM) * response, _TRANSFORM)  # (t, transform)
    total = np.zeros(len(padded) + _TRANSFORM)
    for start, piece in zip(starts, shaped, strict=True):
        total[start : start + _TRANSFORM] += piece
    return total[_WINDOW // 2 : _WINDOW // 2 + len(source)]


def _rms(sound: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(sound**2)))
