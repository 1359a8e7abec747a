"""The network: projection, alignment, cross-attention, heads (Li et al. 2024, section 2), and its one builder."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from ..shared.errors import TrainingError
from .data import Frames

INITIAL_LOG_SCALE = math.log(1 / 0.07)
MAX_LOG_SCALE = math.log(100.0)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Every number the network is built from; `frame_shapes` is ([layers,] width) per modality, audio before face."""

    frame_shapes: Mapping[str, tuple[int, ...]]
    classes: int
    width: int
    heads: int
    layers: int
    dropout: float
    projection_dropout: float


class Projected(NamedTuple):
    """One modality in the shared space: values (b, t, d), valid (b, t), present (b,): the row is no placeholder."""

    values: Tensor
    valid: Tensor
    present: Tensor


class Projection(nn.Module):
    """Frames of one encoder -> frames of the shared space (section 2.1, but frame by frame; see FOALNET.md).

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


class Alignment(nn.Module):
    """Scaled cosines between the audio and the face of every two utterances (AVEL, section 2.1; CLIP's log scale)."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(INITIAL_LOG_SCALE))

    def forward(self, audio: Projected, face: Projected) -> Tensor:
        """(b, b): row = audio, column = face."""
        z_a, z_v = (F.normalize(masked_mean(side.values, side.valid), dim=-1) for side in (audio, face))
        return self.log_scale.exp() * z_a @ z_v.T

    @torch.no_grad()
    def limit_scale(self) -> None:
        """Hold the scale at 100 or less; after a step, since a clamp on the way forward would have no gradient."""
        self.log_scale.clamp_(max=MAX_LOG_SCALE)


class SequenceDropout(nn.Module):
    """Dropout that takes a unit from all frames of a sequence or from none.

    Drawn anew for every frame it would average out in the mean over time: 100 frames leave a tenth of its noise. The
    paper's falls on vectors that are averaged already. It is also far cheaper on a CPU, which draws one by one.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """(b, t, d) -> (b, t, d)."""
        if not self.training or self.p == 0:
            return x
        return x * F.dropout(x.new_ones(len(x), 1, x.shape[-1]), self.p)


class CrossAttention(nn.Module):
    """One layer: multi-head attention into another sequence, dropout, residual, LayerNorm (section 2.2).

    Dropout falls on what was read, not on the attention weights: then PyTorch's fused kernels apply on a CPU too,
    which is two to three times faster and never holds a (t_q, t_k) matrix.
    """

    def __init__(self, *, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)
        self.dropout = SequenceDropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, queries: Tensor, keys: Tensor, valid: Tensor, pairs: Tensor) -> Tensor:
        """Let queries (q, t_q, d) read the sequences that pairs (p, b) pick from keys (b, t_k, d), valid (b, t_k).

        Gives (p, t_q, d); p is a multiple of q, and the queries are repeated to it. Whatever depends on one sequence
        alone is computed once, in however many of the p pairs it is.
        """
        times = len(pairs) // len(queries)
        q = self._split(self.query(queries)).repeat(times, 1, 1, 1)  # (p, heads, t_q, d / heads)
        k, v = (self._split(side) for side in pick(pairs, self.key_value(keys)).chunk(2, -1))
        mask = (pairs @ valid.to(pairs.dtype) > 0)[:, None, None, :]  # (p, 1, 1, t_k)
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        x: Tensor = self.norm(queries.repeat(times, 1, 1) + self.dropout(self.output(read)))
        return x

    def _split(self, x: Tensor) -> Tensor:
        """(p, t, d) -> (p, heads, t, d / heads)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class FoalNet(nn.Module):
    """Foal-Net over two modalities; over one, the same stack reading its own sequence, without alignment and matching.

    A dictionary over modalities has the same keys, in the same order, everywhere here.
    """

    def __init__(
        self, *, architecture: Architecture, projections: Mapping[str, Projection],
        stacks: Mapping[str, Iterable[CrossAttention]], classifier: nn.Linear, dropout: float,
        alignment: Alignment | None, matchers: Mapping[str, nn.Linear],
    ) -> None:  # fmt: skip
        super().__init__()
        self.architecture = architecture
        self.projections = nn.ModuleDict(projections)
        self.stacks = nn.ModuleDict({name: nn.ModuleList(stack) for name, stack in stacks.items()})
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier
        self.alignment = alignment
        self.matchers = nn.ModuleDict(matchers)
        names = list(projections)
        self.reads = dict(zip(names, reversed(names), strict=True))  # audio reads face and face audio, or each itself

    def project(self, frames: Mapping[str, Frames]) -> dict[str, Projected]:
        """Frames of every modality into the shared space."""
        return {name: projection(frames[name]) for name, projection in self.projections.items()}

    def fuse(
        self, projected: Mapping[str, Projected], partners: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Let every row read k partners in the other modality, then average over time: (k, b, d) per modality.

        partners[name] (k, b) holds rows of the modality that `name` reads; by default each row's own, k = 1.
        """
        pooled = {}
        for name, stack in self.stacks.items():
            own, other = projected[name], projected[self.reads[name]]
            b = len(own.values)
            rows = torch.arange(b, device=own.values.device)[None] if partners is None else partners[name]
            pairs = F.one_hot(rows.flatten(), b).to(own.values.dtype)  # (k b, b)
            x = own.values  # (b, t, d), and (k b, t, d) once partners tell its rows apart
            for layer in stack:  # type: ignore[attr-defined]  # a ModuleList
                x = layer(x, other.values, other.valid, pairs)
            pooled[name] = masked_mean(x, own.valid.repeat(len(rows), 1)).view(len(rows), b, -1)
        return pooled

    def classify(self, pooled: Mapping[str, Tensor]) -> Tensor:
        """(b, d) per modality -> logits (b, c)."""
        logits: Tensor = self.classifier(self.dropout(torch.cat([pooled[name] for name in self.stacks], -1)))
        return logits

    def match(self, pooled: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """(k, b, d) per modality -> "is it the same emotion?" as logits (k, b, 2) (MEM, section 2.3)."""
        return {name: head(pooled[name]) for name, head in self.matchers.items()}

    def forward(self, frames: Mapping[str, Frames]) -> Tensor:
        """Logits (b, c)."""
        return self.classify({name: u[0] for name, u in self.fuse(self.project(frames)).items()})


def pick(choice: Tensor, sequences: Tensor) -> Tensor:
    """Rows of sequences (b, t, d) by one-hot choice (p, b) -> (p, t, d).

    A product rather than an index: its gradient is a product too, eight times faster on a CPU than the scatter-add of
    an index, and deterministic on a GPU.
    """
    return (choice @ sequences.flatten(1)).view(-1, *sequences.shape[1:])


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean over the valid ones of t: (b, t, d), (b, t) -> (b, d); zeros where there is none."""
    weights = valid.to(values.dtype)[..., None]
    return (values * weights).sum(1) / weights.sum(1).clamp(min=1)


def build(a: Architecture) -> FoalNet:
    """The network with fresh weights. Raises TrainingError if the heads do not divide the width."""
    if a.width % a.heads:
        raise TrainingError(
            f"expected a width that {a.heads} heads divide, got {a.width}; change train.width or train.heads"
        )
    names = list(a.frame_shapes)
    paired = len(names) == 2

    def stack() -> list[CrossAttention]:
        return [CrossAttention(width=a.width, heads=a.heads, dropout=a.dropout) for _ in range(a.layers)]

    return FoalNet(
        architecture=a,
        projections={
            name: Projection(frame_shape=shape, width=a.width, dropout=a.projection_dropout)
            for name, shape in a.frame_shapes.items()
        },
        stacks={name: stack() for name in names},
        classifier=nn.Linear(len(names) * a.width, a.classes),
        dropout=a.dropout,
        alignment=Alignment() if paired else None,
        matchers={name: nn.Linear(a.width, 2) for name in names} if paired else {},
    )
