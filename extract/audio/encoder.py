"""Audio encoders: frozen models of the wav2vec2 family, one utterance at a time or in batches, with the same result."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...shared.timing import AUDIO_FRAME_SAMPLES, SAMPLE_RATE, Seconds, audio_frames, samples_of_frames
from ..encoders.inference import autocast, split_on_oom
from ..media.waveform import Wave
from .config import Layers
from .padding import BatchInvariantModel


@dataclass(frozen=True, kw_only=True)
class Window:
    """Samples start:stop of a waveform are encoded, and frames first:last of the result are kept."""

    start: int
    stop: int
    first: int
    last: int


WindowSamples = tuple[int, Window, Tensor]
"""Number of a waveform, a window of it, and the samples of that window (samples,)."""


class AudioEncoder:
    """A frozen model of the family: waveforms in, hidden states at 50 Hz out.

    Attributes:
        frame_shape: shape of one frame of the features, ([layers,] d_a).
    """

    def __init__(
        self,
        *,
        model: BatchInvariantModel,
        width: int,
        layers: Layers,
        normalize: bool,
        device: torch.device,
        precision: str = "fp32",
        max_seconds: Seconds = 30.0,
        batch_seconds: Seconds = 0.0,
    ) -> None:
        """Wrap a model.

        Args:
            model: the model, on `device`.
            width: numbers per hidden state, d_a.
            layers: hidden states to return.
            normalize: normalize each waveform to mean 0 and variance 1.
            device: device of the model.
            precision: fp32, bf16 or fp16 (autocast).
            max_seconds: longer waveforms are encoded in windows.
            batch_seconds: audio per batch, including padding; 0 encodes windows one by one.
        """
        self.model = model
        self.layers = layers
        self.normalize = normalize
        self.device = device
        self.precision = precision
        self.batch_samples = round(batch_seconds * SAMPLE_RATE)
        self._max_samples = round(max_seconds * SAMPLE_RATE)
        if layers in ("last", "mean"):
            self.frame_shape: tuple[int, ...] = (width,)
        else:
            self.frame_shape = (model.count if isinstance(layers, str) else len(layers), width)

    @torch.inference_mode()
    def encode(self, waves: Sequence[Wave]) -> list[NDArray[np.float32]]:
        """Encode waveforms.

        Args:
            waves: waveforms (samples,) at 16 kHz. One shorter than the 400 samples of a frame is padded with silence;
                one longer than `max_seconds` is encoded in overlapping windows.

        Returns:
            Hidden states (t_a, [layers,] d_a) of each waveform.

        Raises:
            MediaError: the device's memory is too small for a single window.
        """
        windows = [window for number, wave in enumerate(waves) for window in self._windows(number, wave)]
        parts: list[dict[int, NDArray[np.float32]]] = [{} for _ in waves]
        for batch in self._batches(windows):
            states = split_on_oom(self._forward, batch, remedy="lower extract.audio.max_seconds")
            for (number, window, _), values in zip(batch, states, strict=True):
                parts[number][window.start] = values[window.first : window.last]
        return [np.concatenate([values for _, values in sorted(wave_parts.items())]) for wave_parts in parts]

    def _windows(self, number: int, wave: Wave) -> list[WindowSamples]:
        samples = torch.from_numpy(wave)
        if self.normalize:
            # As the family's preprocessor: over the whole utterance, before padding.
            samples = (samples - samples.mean()) / torch.sqrt(samples.var(correction=0) + 1e-7)
        if len(samples) < AUDIO_FRAME_SAMPLES:
            samples = nn.functional.pad(samples, (0, AUDIO_FRAME_SAMPLES - len(samples)))
        windows = cut_windows(len(samples), self._max_samples)
        return [(number, window, samples[window.start : window.stop]) for window in windows]

    def _batches(self, windows: list[WindowSamples]) -> list[list[WindowSamples]]:
        """Batches of similar length, so that little is padded; of one window each without `batch_seconds`."""
        if not self.batch_samples:
            return [[window] for window in windows]
        batches: list[list[WindowSamples]] = []
        for window in sorted(windows, key=lambda window: -len(window[2])):
            # The first of a batch is the longest, to which the others are padded.
            if batches and (len(batches[-1]) + 1) * len(batches[-1][0][2]) <= self.batch_samples:
                batches[-1].append(window)
            else:
                batches.append([window])
        return batches

    def _forward(self, batch: Sequence[WindowSamples]) -> list[NDArray[np.float32]]:
        waves = [samples for _, _, samples in batch]
        with autocast(self.device, self.precision):
            lengths, states = self.model.hidden_states(waves, self.device, every=self.layers != "last")
            selected = self._select(states).float().cpu().numpy()
        return [values[:length] for values, length in zip(selected, lengths, strict=True)]

    def _select(self, states: Sequence[Tensor]) -> Tensor:
        """(b, t_a, d_a) for `last` and `mean`, (b, t_a, layers, d_a) for several layers."""
        if self.layers == "last":
            return states[-1]
        if self.layers == "mean":
            return torch.stack(list(states)).mean(0)
        return torch.stack(list(states) if self.layers == "all" else [states[int(i)] for i in self.layers], 2)


def cut_windows(samples: int, max_samples: int) -> list[Window]:
    """Cut a waveform into windows of at most `max_samples`; into a single one if it is not longer.

    The kept frames follow each other without gap or overlap. On either side of them a sixth of the window is context
    that is not kept, except at the ends of the waveform.
    """
    frames = audio_frames(samples)
    if samples <= max_samples:
        return [Window(start=0, stop=samples, first=0, last=frames)]
    per_window = audio_frames(max_samples)
    context = per_window // 6
    hop = per_window - 2 * context
    cuts = [0, *range(context + hop, frames - context, hop), frames]
    windows = []
    for first, last in pairwise(cuts):
        # The last window is as long as the others: it begins earlier instead.
        begin = max(0, min(first - context, frames - per_window))
        start, end = samples_of_frames(begin, begin + per_window)
        stop = samples if last == frames else end
        windows.append(Window(start=start, stop=stop, first=first - begin, last=last - begin))
    return windows
