"""From the channels of a recording to one: their mean, or a chosen one."""

import numpy as np
from numpy.typing import NDArray

from ...shared.config.settings import Channel
from ...shared.errors import MediaError

NAMED_CHANNELS = {"left": 0, "right": 1}

CANCELLED_FRACTION = 0.2
"""Channels cancel where their mean has less than this fraction of the energy that uncorrelated channels would leave in
it. For two channels that is a tenth of their own energy: a correlation below -0.8."""

CANCELLED_NOTE = "the channels cancel in their mean; take one of them (extract.audio.channel)"
"""Note of utterances whose recording has a channel with swapped poles."""


class Mixer:
    """Mixes a recording to mono, block by block, and measures whether its channels cancel."""

    def __init__(self, channel: Channel = "mean") -> None:
        """Take the mean of all channels, the `left` or `right` one, or the one of a number, from 0 on."""
        self._channel = channel
        self._channels = 1
        self._energy = 0.0
        self._mean_energy = 0.0

    def mono(self, samples: NDArray[np.generic]) -> NDArray[np.float32]:
        """Mix a block (channels, samples) of any number type; keeps its scale.

        Raises MediaError if the recording lacks the channel.
        """
        if self._channel != "mean":
            return np.array(samples[self._index(len(samples))], np.float32)
        mean: NDArray[np.float32] = samples.mean(axis=0, dtype=np.float32)
        if len(samples) > 1:
            flat = np.asarray(samples, np.float32).ravel(order="K")
            self._channels = len(samples)
            self._energy += float(np.dot(flat, flat))
            self._mean_energy += float(np.dot(mean, mean))
        return mean

    @property
    def cancelled(self) -> bool:
        """Whether the channels cancel in their mean, because one has its poles swapped."""
        uncorrelated = self._energy / self._channels**2
        return self._mean_energy < CANCELLED_FRACTION * uncorrelated

    def _index(self, channels: int) -> int:
        named = NAMED_CHANNELS.get(str(self._channel))
        index = int(self._channel) if named is None else named
        # A mono recording has neither a left nor a right channel.
        if index >= channels or (named is not None and channels < 2):
            expected = f"a {self._channel} channel" if named is not None else f"channel {index}, counted from 0"
            actual = "1 channel" if channels == 1 else f"{channels} channels"
            raise MediaError(f"expected {expected} (extract.audio.channel), got a recording of {actual}")
        return index
