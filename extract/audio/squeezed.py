"""SEW: a model of the wav2vec2 family whose layers run at half of its frame rate."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .padding import BatchInvariantModel
from .windows import WAVEFORM_GRID

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class SqueezedModel(BatchInvariantModel):
    """SEW: an `AudioModel` at 50 Hz, whose layers run at 50 Hz / squeeze factor.

    The model itself brings the last hidden state back to 50 Hz; each of the others is repeated. As in transformers,
    the frames at the end that fill no group (one of an odd number, at a factor of 2) are zero.

    Waveforms are encoded one by one: in a padded batch transformers' attention mask counts a group that is filled in
    part, which the same waveform does not have alone.
    """

    def __init__(self, model: "PreTrainedModel", device: torch.device, *, normalize: bool = False) -> None:
        """Wrap a model; arguments as for `BatchInvariantModel`."""
        self._factor: int = model.config.squeeze_factor
        grid = WAVEFORM_GRID
        shortest = grid.span + (self._factor - 1) * grid.hop
        super().__init__(model, device, normalize=normalize, grid=replace(grid, shortest=shortest))

    def hidden_states(
        self, waves: Sequence[Tensor], device: torch.device, *, every: bool
    ) -> tuple[list[int], Sequence[Tensor]]:
        """Hidden states of waveforms (samples,) of any lengths; see `AudioModel`."""
        frames = [self.grid.frames(len(wave)) for wave in waves]
        items = []
        for wave, count in zip(waves, frames, strict=True):
            _, (*inner, last) = super().hidden_states([wave], device, every=every)
            items.append([*(self._stretch(state[0], count) for state in inner), last[0]])
        states = [nn.utils.rnn.pad_sequence(list(layer), batch_first=True) for layer in zip(*items, strict=True)]
        return frames, states

    def _stretch(self, state: Tensor, frames: int) -> Tensor:
        """(t_a // factor, d_a) -> (frames, d_a)."""
        repeated = state.repeat_interleave(self._factor, 0)
        return nn.functional.pad(repeated, (0, 0, 0, frames - len(repeated)))
