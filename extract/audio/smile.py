"""openSMILE as an audio encoder: hand-crafted features of the voice, through the package opensmile."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...shared.errors import EncoderError, MediaError
from ...shared.timing import SAMPLE_RATE, Seconds
from ..encoders.opensmile import smile_rate, smile_set
from ..encoders.weights import Weights
from ..media.waveform import Wave

SHORTEST_SAMPLES = 960
"""The longest analysis frame of both sets, 60 ms; for shorter audio the package returns NaN."""

LLD_ORIGIN: Seconds = 0.01
"""Centre of the first low-level descriptor. Most have frames of 20 ms, every 10 ms; those of pitch have 60 ms."""

LARGEST_SAMPLE = 32767 / 32768
"""The package converts samples to 16 bits without a limit: a sample of 1.0 would become -1.0."""


class SmileEncoder:
    """A feature set of openSMILE: waveforms in, low-level descriptors at 100 Hz or one vector of functionals out.

    openSMILE reads an utterance as a stream: there are no windows, no batches and no layers.

    Attributes:
        frame_shape: numbers per vector, (d_a,).
        rate_hz: vectors per second; 1 for functionals.
        shortest_samples: waveforms with fewer samples are padded with silence.
        batch_samples: 0, one utterance at a time.
    """

    shortest_samples = SHORTEST_SAMPLES
    batch_samples = 0

    def __init__(self, weights: Weights) -> None:
        """Load the package; raises EncoderError if it cannot be loaded."""
        feature_set, self._functionals = smile_set(weights.name)
        try:
            import opensmile

            level = (
                opensmile.FeatureLevel.Functionals if self._functionals else opensmile.FeatureLevel.LowLevelDescriptors
            )
            self._smile: Any = opensmile.Smile(opensmile.FeatureSet[feature_set], level)
        except Exception as error:
            # An incomplete installation fails in many ways: a module, a shared library or a configuration is missing.
            raise EncoderError(
                f"{weights.name}: openSMILE cannot be loaded ({error}); install opensmile again"
            ) from None
        self.rate_hz = smile_rate(weights.name)
        self.frame_shape: tuple[int, ...] = (int(self._smile.num_features),)

    def origin(self, samples: int) -> Seconds:
        """Time of the first vector of a waveform of so many samples: functionals describe the whole of it."""
        return samples / SAMPLE_RATE / 2 if self._functionals else LLD_ORIGIN

    def encode(self, waves: Sequence[Wave]) -> list[NDArray[np.float32]]:
        """Features (t_a, d_a) of each waveform (samples,) at 16 kHz; t_a is 1 for functionals.

        Raises:
            MediaError: openSMILE fails.
        """
        return [self._encode(wave) for wave in waves]

    def _encode(self, wave: Wave) -> NDArray[np.float32]:
        samples = np.pad(wave, (0, max(0, SHORTEST_SAMPLES - len(wave)))).clip(-1.0, LARGEST_SAMPLE)
        try:
            values = self._smile.process_signal(samples, SAMPLE_RATE).to_numpy(np.float32)
        except RuntimeError as error:
            raise MediaError(f"openSMILE failed ({error})") from None
        return np.ascontiguousarray(values)
