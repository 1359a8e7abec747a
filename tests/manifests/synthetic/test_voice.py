"""The voices of the synthetic corpus."""

import numpy as np
from numpy.typing import NDArray

from foal.manifests.synthetic.cast import CAST
from foal.manifests.synthetic.voice import mouth_opening, synthesize_voice


def test_an_aroused_voice_is_louder_and_higher() -> None:
    for member in CAST:
        calm, aroused = (
            synthesize_voice(member.voice, arousal, 0.0, 32_000, np.random.default_rng(3)) for arousal in (-1.0, 1.0)
        )
        assert max(np.abs(calm).max(), np.abs(aroused).max()) < 1
        assert aroused.std() > 2 * calm.std()
        pitches = [pitch_of(wave, member.voice.pitch_hz) for wave in (calm, aroused)]
        assert pitches[1] > 1.2 * pitches[0]
        assert 0.7 < pitches[0] / member.voice.pitch_hz < 1 < pitches[1] / member.voice.pitch_hz


def test_a_negative_voice_is_as_loud_but_cuts_vowels_short() -> None:
    for member in CAST:
        negative, positive = (
            synthesize_voice(member.voice, 0.0, valence, 32_000, np.random.default_rng(3)) for valence in (-1.0, 1.0)
        )
        assert 0.9 < positive.std() / negative.std() < 1.1
        quiet = [np.mean(loudness_of(wave) < 0.2 * wave.std()) for wave in (negative, positive)]
        assert quiet[0] > quiet[1] + 0.1


def loudness_of(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """The root mean square of 20 ms windows."""
    return np.sqrt(np.square(wave[: len(wave) // 320 * 320].reshape(-1, 320)).mean(axis=1))


def pitch_of(wave: NDArray[np.float64], expected_hz: float) -> float:
    """The median pitch from the autocorrelation peaks of 64 ms windows, within an octave of the expected pitch."""
    lags = np.arange(int(16_000 / (1.7 * expected_hz)), int(16_000 / (0.6 * expected_hz)))
    pitches = []
    for start in range(0, len(wave) - 1024, 512):
        window = wave[start : start + 1024]
        if window.std() > wave.std():  # neither a consonant nor a pause
            correlation = np.correlate(window, window, "full")[1023:] / np.arange(1024, 0, -1)
            pitches.append(16_000 / lags[np.argmax(correlation[lags])])
    return float(np.median(pitches))


def test_the_mouth_is_closed_outside_speech() -> None:
    wave = np.concatenate([np.zeros(8000), 0.1 * np.sin(np.arange(8000)), np.zeros(8000)])
    opening = mouth_opening(wave, np.array([-1.0, 0.2, 0.75, 1.3, 9.0]))
    assert opening[2] > 0.9
    assert np.abs(opening[[0, 1, 3, 4]]).max() < 1e-6
