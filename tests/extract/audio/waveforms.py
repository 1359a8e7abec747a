"""Random waveforms, and their features from an encoder."""

import numpy as np

from foal.extract.audio.encoder import AudioEncoder


def wave(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise at 16 kHz, float32."""
    return (np.random.default_rng(seed).normal(size=round(seconds * 16000)) * 0.1).astype(np.float32)


def encode_one(encoder: AudioEncoder, samples: np.ndarray) -> np.ndarray:
    """The features of one waveform in a batch of its own."""
    return encoder.encode([samples])[0]
