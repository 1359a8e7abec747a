"""Audio encoders: frozen models, one utterance at a time or in batches, with the same result."""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...shared.timing import SAMPLE_RATE, Seconds
from ..encoders.inference import autocast, select_layers, split_on_oom
from ..encoders.layers import Layers, layer_shape
from ..encoders.transfer import HostCopy
from ..media.waveform import Wave
from .windows import FrameGrid, Window, cut_windows

WindowInput = tuple[int, Window, Tensor]
"""Number of a waveform, a window of its input, and that part of the input (positions, ...)."""


class AudioModel(Protocol):
    """A frozen model whose hidden states of an input are those that it has for it alone, up to rounding.

    Attributes:
        count: number of hidden states: the layers, and the input of the first one.
        width: numbers per hidden state, d_a.
        grid: positions of the input that each frame covers.
    """

    count: int
    width: int
    grid: FrameGrid

    def prepare(self, wave: Wave) -> Tensor:
        """The model's input (positions, ...) of a whole waveform (samples,) at 16 kHz."""
        ...

    def hidden_states(
        self, inputs: Sequence[Tensor], device: torch.device, *, every: bool
    ) -> tuple[list[int], Sequence[Tensor]]:
        """Hidden states of a batch.

        Args:
            inputs: inputs (positions, ...), or windows of them, of any lengths.
            device: device of the model.
            every: return the input of the first layer and the output of each, instead of the last layer's alone.

        Returns:
            Number of frames of each input, and the hidden states, each (b, t_a, d_a), padded to the longest.
        """
        ...


class AudioEncoder:
    """A frozen model: waveforms in, hidden states out.

    Attributes:
        frame_shape: shape of one frame of the features, ([layers,] d_a).
        rate_hz: frames per second.
        shortest_samples: waveforms with fewer samples are padded with silence.
        batch_samples: samples per batch, including padding; 0 for one window at a time.
    """

    def __init__(
        self,
        *,
        model: AudioModel,
        layers: Layers,
        device: torch.device,
        precision: str = "fp32",
        max_seconds: Seconds = 30.0,
        batch_seconds: Seconds = 0.0,
    ) -> None:
        """Wrap a model.

        Args:
            model: the model, on `device`.
            layers: hidden states to return.
            device: device of the model.
            precision: fp32, tf32, bf16 or fp16, see `autocast`.
            max_seconds: longer waveforms are encoded in windows; those that the model cannot take at once are so, too.
            batch_seconds: audio per batch, including padding; 0 encodes windows one by one.
        """
        self.model = model
        self.layers = layers
        self.device = device
        self.precision = precision
        self.batch_samples = round(batch_seconds * SAMPLE_RATE)
        grid = model.grid
        self.rate_hz = grid.frame_rate_hz
        self.shortest_samples = grid.shortest_samples
        self._batch_positions = round(batch_seconds * grid.rate_hz)
        self._max_positions = round(max_seconds * grid.rate_hz)
        if grid.longest is not None:
            self._max_positions = min(self._max_positions, grid.longest)
        self.frame_shape: tuple[int, ...] = (*layer_shape(layers, model.count), model.width)

    def origin(self, samples: int) -> Seconds:
        """Centre of the first frame of a waveform of so many samples, relative to its start."""
        return self.model.grid.origin

    @torch.inference_mode()
    def encode(self, waves: Sequence[Wave]) -> list[NDArray[np.float32]]:
        """Encode waveforms.

        Args:
            waves: waveforms (samples,) at 16 kHz. One shorter than a frame is padded with silence; one longer than
                `max_seconds` is encoded in overlapping windows.

        Returns:
            Hidden states (t_a, [layers,] d_a) of each waveform.

        Raises:
            MediaError: the device's memory is too small for a single window.
        """
        windows = [window for number, wave in enumerate(waves) for window in self._windows(number, wave)]
        parts: list[dict[int, NDArray[np.float32]]] = [{} for _ in waves]
        running: deque[list[_Running]] = deque()

        def store_oldest() -> None:
            for done in running.popleft():
                for (number, window, _), values in zip(done.windows, done.states.numpy(), strict=True):
                    # A copy: the padding would stay in memory.
                    parts[number][window.start] = values[window.first : window.last].copy()

        for batch in self._batches(windows):
            running.append(split_on_oom(self._start, batch, remedy="lower extract.audio.max_seconds"))
            # A GPU computes this batch while the one before it is stored.
            if len(running) > (self.device.type != "cpu"):
                store_oldest()
        while running:
            store_oldest()
        return [np.concatenate([values for _, values in sorted(wave_parts.items())]) for wave_parts in parts]

    def _windows(self, number: int, wave: Wave) -> list[WindowInput]:
        inputs = self.model.prepare(wave)
        windows = cut_windows(len(inputs), self._max_positions, self.model.grid)
        return [(number, window, inputs[window.start : window.stop]) for window in windows]

    def _batches(self, windows: list[WindowInput]) -> list[list[WindowInput]]:
        """Batches of similar length, so that little is padded; of one window each without `batch_seconds`."""
        if not self._batch_positions:
            return [[window] for window in windows]
        batches: list[list[WindowInput]] = []
        for window in sorted(windows, key=lambda window: -len(window[2])):
            # The first of a batch is the longest, to which the others are padded.
            if batches and (len(batches[-1]) + 1) * self._cost(batches[-1][0]) <= self._batch_positions:
                batches[-1].append(window)
            else:
                batches.append([window])
        return batches

    def _cost(self, longest: WindowInput) -> int:
        """Positions of each window of a batch, by its longest."""
        return self.model.grid.padded or len(longest[2])

    def _start(self, batch: Sequence[WindowInput]) -> list["_Running"]:
        inputs = [window_input for _, _, window_input in batch]
        with autocast(self.device, self.precision):
            _, states = self.model.hidden_states(inputs, self.device, every=self.layers != "last")
            return [_Running(batch, HostCopy(select_layers(states, self.layers).float()))]


class _Running(NamedTuple):
    """A batch that the device computes, and its hidden states (b, t_a, [layers,] d_a)."""

    windows: Sequence[WindowInput]
    states: HostCopy
