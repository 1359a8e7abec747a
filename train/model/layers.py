"""Layers of Foal-Net: projection (Li et al. 2024, section 2.1) and cross-attention (section 2.2)."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from ..data.sequences import Frames, SpeakerNorm
from .dropout import SequenceDropout
from .pooling import Projected, limited


class CrossAttention(nn.Module):
    """One layer: multi-head attention into another sequence, dropout, residual, LayerNorm (section 2.2).

    Dropout is applied to the output of the attention, not to its weights: this allows PyTorch's fused kernels on a CPU,
    which are two to three times faster and never store a (t_q, t_k) matrix.
    """

    def __init__(self, *, width: int, heads: int, dropout: float, feed_forward: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.dropout = SequenceDropout(dropout)
        self.norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width=width, dropout=dropout) if feed_forward else None

    def forward(
        self,
        queries: Float[Tensor, "q t_q d"],
        keys: Float[Tensor, "b t_k d"],
        valid: Bool[Tensor, "b t_k"],
        rows: Int[Tensor, " p"],
    ) -> Float[Tensor, "p t_q d"]:
        """Attend from p queries to p key sequences, where they are valid.

        Everything that depends on a single sequence is computed once, however many of the p pairs contain it.

        Args:
            queries: query sequences; repeated p / q times, where p is a multiple of q.
            keys: key sequences.
            valid: which key frames may be attended to.
            rows: the row of `keys` for each of the p queries.
        """
        times = len(rows) // len(queries)
        if keys.shape[1] == 1:  # the weight of the only key is 1
            read = self.value(keys).index_select(0, rows)
        else:
            q = self._split(self.query(queries)).repeat(times, 1, 1, 1)  # (p, heads, t_q, d / heads)
            # Selected before the heads are split: the gradient of a selection from strided memory is six times slower.
            k, v = (self._split(side(keys).index_select(0, rows)) for side in (self.key, self.value))
            mask = valid.index_select(0, rows)[:, None, None, :]  # (p, 1, 1, t_k)
            read = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        x: Tensor = self.norm(queries.repeat(times, 1, 1) + self.dropout(self.output(read)))
        return x if self.feed_forward is None else self.feed_forward(x)

    def _split(self, x: Tensor) -> Tensor:
        """Reshape (p, t, d) to (p, heads, t, d / heads)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class FeedForward(nn.Module):
    """Linear to twice the width, GELU, linear, dropout, residual, LayerNorm, as in a Transformer layer."""

    def __init__(self, *, width: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 2 * width)
        self.reduce = nn.Linear(2 * width, width)
        self.dropout = SequenceDropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Float[Tensor, "p t d"]) -> Float[Tensor, "p t d"]:
        """Transform each frame on its own."""
        y: Tensor = self.norm(x + self.dropout(self.reduce(F.gelu(self.expand(x)))))
        return y


def sinusoidal_positions(length: int, width: int, device: torch.device) -> Float[Tensor, "t d"]:
    """Sines and cosines of the frame number at geometric frequencies (Vaswani et al. 2017, section 3.5)."""
    rates = torch.exp(-math.log(10_000.0) * torch.arange(0, width, 2, device=device) / width)
    angles = torch.arange(length, device=device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :width]


class Projection(nn.Module):
    """Projection of an encoder's frames into the shared space (section 2.1, but per frame; see docs/network.md).

    Normalization with the training fold's statistics, or with the speaker's, shrunk towards them, and a limit for
    outliers; weighted sum of the encoder's layers, if several; dropout of input features and frames; linear to d; GELU,
    linear, dropout; residual; LayerNorm. A row without valid frames becomes one learned placeholder frame.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        *,
        frame_shape: tuple[int, ...],
        width: int,
        dropout: float,
        input_limit: float | None = None,
        input_dropout: float = 0.0,
        frame_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(frame_shape))
        self.register_buffer("deviation", torch.ones(frame_shape))
        *layers, encoder_width = frame_shape
        self.layer_weights = nn.Parameter(torch.zeros(layers)) if layers else None
        self.adapter = nn.Linear(encoder_width, width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)
        self.input_limit = input_limit
        self.input_dropout = SequenceDropout(input_dropout)
        self.frame_dropout = frame_dropout
        self.dropout = SequenceDropout(dropout)
        self.norm = nn.LayerNorm(width)
        self.placeholder = nn.Parameter(torch.randn(width))

    def set_normalization(self, mean: Tensor, deviation: Tensor) -> None:
        """Set the training fold's statistics, each ([layers,] width)."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def forward(self, frames: Frames) -> Projected:
        """Project (b, t, [layers,] width) to (b, t, d)."""
        valid = self._kept(frames.valid)
        gaps = ~valid.view(*valid.shape, *[1] * self.mean.dim())
        mean, deviation = self._statistics(frames.speaker)
        # Filled, not multiplied by zero: an invalid frame may contain NaN.
        x = limited((frames.values - mean) / deviation, self.input_limit).masked_fill(gaps, 0.0)
        if self.layer_weights is not None:
            x = torch.einsum("btlw,l->btw", x, self.layer_weights.softmax(0))
        inputs = x  # (b, t, w)
        x = self.adapter(self.input_dropout(x))  # (b, t, d)
        x = self.norm(x + self.dropout(self.mix(F.gelu(x))))
        present = valid.any(1)
        placeholders = torch.zeros_like(valid)
        placeholders[:, 0] = ~present
        values = torch.where(placeholders[..., None], self.placeholder, x)
        return Projected(values, valid | placeholders, present, inputs)

    def _kept(self, valid: Bool[Tensor, "b t"]) -> Bool[Tensor, "b t"]:
        """The valid frames that dropout leaves: in training some are dropped, but never all of a sequence."""
        if not self.training or self.frame_dropout == 0:
            return valid
        kept = valid & (torch.rand(valid.shape, device=valid.device) >= self.frame_dropout)
        return torch.where(kept.any(1, keepdim=True), kept, valid)

    def _statistics(self, speaker: SpeakerNorm | None) -> tuple[Tensor, Tensor]:
        """Mean and deviation to standardize with: those of the fold, or (b, 1, [layers,] width) by speaker."""
        if speaker is None:
            return self.mean, self.deviation
        mean, deviation = speaker.shrunk(self.mean, self.deviation)
        return mean[:, None], deviation[:, None]


def initialize_normal(module: nn.Module) -> None:
    """Draw the weights of a linear layer as Transformers' encoders do, which the reference code extends."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
