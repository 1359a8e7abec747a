"""From an encoder's frames to the space that audio and face share (Li et al. 2024, section 2.1)."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from ..data.sequences import Frames
from .sequences import SequenceDropout


class Projected(NamedTuple):
    """One modality in the shared space; a row that is not present is a placeholder."""

    values: Float[Tensor, "b t d"]
    valid: Bool[Tensor, "b t"]
    present: Bool[Tensor, " b"]


class Projection(nn.Module):
    """Frames of one encoder -> frames of the shared space (section 2.1, but frame by frame; see docs/network.md).

    Standardised with the training fold's statistics; several layers are mixed with learned weights; linear to d;
    GELU, linear, dropout; residual; LayerNorm. A row without a valid frame becomes one learned placeholder frame.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, *, frame_shape: tuple[int, ...], width: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(frame_shape))
        self.register_buffer("deviation", torch.ones(frame_shape))
        *layers, encoder_width = frame_shape
        self.layer_weights = nn.Parameter(torch.zeros(layers)) if layers else None
        self.adapter = nn.Linear(encoder_width, width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)
        self.dropout = SequenceDropout(dropout)
        self.norm = nn.LayerNorm(width)
        self.placeholder = nn.Parameter(torch.randn(width))

    def standardise_by(self, mean: Tensor, deviation: Tensor) -> None:
        """Take over the training fold's statistics, each ([layers,] width)."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def forward(self, frames: Frames) -> Projected:
        """(b, t, [layers,] width) -> (b, t, d)."""
        values, valid = frames
        gaps = ~valid.view(*valid.shape, *[1] * self.mean.dim())
        # Filled, not multiplied by zero: whatever an invalid frame holds, were it NaN, ends here.
        x = ((values - self.mean) / self.deviation).masked_fill(gaps, 0.0)
        if self.layer_weights is not None:
            x = torch.einsum("btlw,l->btw", x, self.layer_weights.softmax(0))
        x = self.adapter(x)  # (b, t, d)
        x = self.norm(x + self.dropout(self.mix(F.gelu(x))))
        present = valid.any(1)
        stand_in = torch.zeros_like(valid)
        stand_in[:, 0] = ~present
        return Projected(torch.where(stand_in[..., None], self.placeholder, x), valid | stand_in, present)
