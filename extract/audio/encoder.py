"""Audio encoders: wav2vec2 and its family, frozen; one utterance at a time or in batches, with the same result."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...shared.timing import AUDIO_FRAME_SAMPLES, SAMPLE_RATE, Seconds, audio_frames, samples_of_frames
from ..encoders.inference import autocast, halved
from ..media.waveform import Wave
from .config import Layers
from .padding import PaddedModel


@dataclass(frozen=True, kw_only=True)
class Window:
    """Samples start:stop are encoded, and of their frames first:last are kept."""

    start: int
    stop: int
    first: int
    last: int


Piece = tuple[int, Window, Tensor]
"""A window of wave number i, and its samples."""


class AudioEncoder:
    """A frozen model of the family: waves in, hidden states at 50 Hz out."""

    def __init__(
        self,
        *,
        model: PaddedModel,
        width: int,
        layers: Layers,
        normalise: bool,
        device: torch.device,
        precision: str = "fp32",
        max_seconds: Seconds = 30.0,
        batch_seconds: Seconds = 0.0,
    ) -> None:
        self.model = model
        self.frame_shape = (width,) if isinstance(layers, str) and layers != "all" else (_count(layers, model), width)
        self.layers, self.normalise, self.device, self.precision = layers, normalise, device, precision
        self._longest = round(max_seconds * SAMPLE_RATE)
        self.batch_samples = round(batch_seconds * SAMPLE_RATE)

    @torch.inference_mode()
    def encode(self, waves: Sequence[Wave]) -> list[NDArray[np.float32]]:
        """Hidden states (t_a, [layers,] d_a) of each utterance (samples,), at 16 kHz.

        A wave shorter than the 400 samples that one hidden state covers is filled up with silence. One longer than
        `max_seconds` is encoded in overlapping windows. Raises MediaError if the GPU's memory does not suffice.
        """
        pieces = [piece for number, wave in enumerate(waves) for piece in self._pieces(number, wave)]
        parts: list[dict[int, NDArray[np.float32]]] = [{} for _ in waves]
        for batch in self._batches(pieces):
            states = halved(self._forward, batch, remedy="lower extract.audio.max_seconds")
            for (number, window, _), values in zip(batch, states, strict=True):
                parts[number][window.start] = values[window.first : window.last]
        return [np.concatenate([values for _, values in sorted(of_wave.items())]) for of_wave in parts]

    def _pieces(self, number: int, wave: Wave) -> list[Piece]:
        samples = torch.from_numpy(wave)
        if self.normalise:
            # As the family's preprocessor does, over the utterance and before anything is padded.
            samples = (samples - samples.mean()) / torch.sqrt(samples.var(correction=0) + 1e-7)
        if len(samples) < AUDIO_FRAME_SAMPLES:
            samples = nn.functional.pad(samples, (0, AUDIO_FRAME_SAMPLES - len(samples)))
        return [(number, w, samples[w.start : w.stop]) for w in cut_windows(len(samples), self._longest)]

    def _batches(self, pieces: list[Piece]) -> list[list[Piece]]:
        """Pieces of similar length together, so that little is padded; alone, if there is no budget."""
        if not self.batch_samples:
            return [[piece] for piece in pieces]
        batches: list[list[Piece]] = []
        for piece in sorted(pieces, key=lambda piece: -len(piece[2])):
            # The first of a batch is its longest: what all its others are padded to.
            if batches and (len(batches[-1]) + 1) * len(batches[-1][0][2]) <= self.batch_samples:
                batches[-1].append(piece)
            else:
                batches.append([piece])
        return batches

    def _forward(self, batch: Sequence[Piece]) -> list[NDArray[np.float32]]:
        waves = [samples for _, _, samples in batch]
        with autocast(self.device, self.precision):
            lengths, states = self.model.hidden_states(waves, self.device, every=self.layers != "last")
            chosen = self._choose(states).float().cpu().numpy()
        return [values[:length] for values, length in zip(chosen, lengths, strict=True)]

    def _choose(self, states: Sequence[Tensor]) -> Tensor:
        """(b, t, d) for `last` and `mean`, (b, t, layers, d) for several."""
        if self.layers == "last":
            return states[-1]
        if self.layers == "mean":
            return torch.stack(list(states)).mean(0)
        return torch.stack(list(states) if self.layers == "all" else [states[int(i)] for i in self.layers], 2)


def _count(layers: Layers, model: PaddedModel) -> int:
    return model.count if isinstance(layers, str) else len(layers)


def cut_windows(samples: int, longest: int) -> list[Window]:
    """The windows of a wave, at most `longest` samples each: one, if it is no longer than that.

    The kept frames follow each other without gap or overlap. Each has a sixth of a window on either side of it that is
    not kept, except where the wave ends.
    """
    frames, per_window = audio_frames(samples), audio_frames(longest)
    if samples <= longest:
        return [Window(start=0, stop=samples, first=0, last=frames)]
    context = per_window // 6
    hop = per_window - 2 * context
    cuts = [0, *range(context + hop, frames - context, hop), frames]
    windows = []
    for first, last in pairwise(cuts):
        # The last window is no shorter than the others: it begins earlier instead.
        begin = max(0, min(first - context, frames - per_window))
        start, end = samples_of_frames(begin, begin + per_window)
        stop = samples if last == frames else end
        windows.append(Window(start=start, stop=stop, first=first - begin, last=last - begin))
    return windows
