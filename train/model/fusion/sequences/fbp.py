"""Attention over the frames of each stream and factorized bilinear pooling of pairs (Zhou et al. 2019, EmotiW)."""

from itertools import combinations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from .....shared.config.fusion_settings import FbpSettings
from ...architecture import Architecture
from ...dropout import Dropout, SequenceDropout
from ...pooling import masked_mean
from ..base import Fused, FusionHead, Streams
from ..layers import masked_softmax

ROOT_OFFSET = 1e-6
"""Added to the absolute value below a signed root, whose slope is infinite at zero."""
REDUCTION = 4
"""Divisor of the width in which transformer pooling compares frames."""


class FbpFusion(FusionHead):
    """The frames of each stream are pooled; each pair of streams is multiplied; the results of the pairs are joined."""

    def __init__(self, a: Architecture, options: FbpSettings) -> None:
        super().__init__()
        self.pools = nn.ModuleDict(
            {name: FramePooling(width=a.width, kind=options.pooling, dropout=a.dropout) for name in a.frame_shapes}
        )
        self.pairs = list(combinations(a.frame_shapes, 2))
        self.products = nn.ModuleList(
            BilinearPooling(
                inputs=a.width * (2 if options.pooling == "relation" else 1),
                outputs=a.width,
                factors=options.factors,
                dropout=a.dropout,
                adaptive=options.adaptive,
            )
            for _ in self.pairs
        )
        self.width = len(self.pairs) * a.width

    def forward(self, streams: Streams) -> Fused:
        """See FusionHead."""
        pooled = {name: self.pools[name](side.values, side.valid) for name, side in streams.items()}
        pairs = zip(self.products, self.pairs, strict=True)
        return Fused(torch.cat([product(pooled[first], pooled[second]) for product, (first, second) in pairs], -1))


class FramePooling(nn.Module):
    """A weighted mean of the valid frames f_i.

    - mean: equal weights.
    - self: weights sigmoid(q f_i), divided by their sum.
    - relation: the result g of `self` is joined to every frame; weights sigmoid(q f_i) sigmoid(p [f_i; g]). Twice as
      wide.
    - transformer: weights softmax_i of the mean over j of <W f_i, W f_j> / sqrt(width of W f).
    """

    def __init__(self, *, width: int, kind: str, dropout: float) -> None:
        super().__init__()
        self.kind = kind
        self.dropout = SequenceDropout(dropout)
        self.query = nn.Linear(width, 1, bias=False) if kind in ("self", "relation") else None
        self.relation = nn.Linear(2 * width, 1, bias=False) if kind == "relation" else None
        self.reduce = nn.Linear(width, max(width // REDUCTION, 1), bias=False) if kind == "transformer" else None

    def forward(self, frames: Float[Tensor, "b t d"], valid: Bool[Tensor, "b t"]) -> Float[Tensor, "b p"]:
        """Pool (b, t, d) to (b, d), or (b, 2 d) for `relation`."""
        if self.reduce is not None:
            compared = self.reduce(self.dropout(frames))
            similar = compared @ masked_mean(compared, valid)[..., None] / compared.shape[-1] ** 0.5
            return _weighted(frames, masked_softmax(similar.squeeze(-1), valid))
        if self.query is None:
            return masked_mean(frames, valid)
        # The quotient of sigmoids by their sum is the softmax of their logarithms, which cannot be divided by zero.
        weights = F.logsigmoid(self.query(self.dropout(frames)).squeeze(-1))
        pooled = _weighted(frames, masked_softmax(weights, valid))
        if self.relation is None:
            return pooled
        joined = torch.cat([frames, pooled[:, None].expand_as(frames)], -1)
        weights = weights + F.logsigmoid(self.relation(self.dropout(joined)).squeeze(-1))
        return _weighted(joined, masked_softmax(weights, valid))


class BilinearPooling(nn.Module):
    """Factorized bilinear pooling of two vectors, x and y.

    z_o is the sum over `factors` of dropout((U x) * (P y)), a bilinear form of that rank; then the signed square root,
    and a vector of length sqrt(outputs). With `adaptive`, x and y are weighted before: x by 2w, y by 2(1 - w), with
    w = sigmoid(G [x; y]), one weight per feature. A single weight for x and y would cancel in the normalized product.
    """

    def __init__(self, *, inputs: int, outputs: int, factors: int, dropout: float, adaptive: bool) -> None:
        super().__init__()
        self.factors = factors
        self.first = nn.Linear(inputs, factors * outputs, bias=False)
        self.second = nn.Linear(inputs, factors * outputs, bias=False)
        self.gate = nn.Linear(2 * inputs, inputs) if adaptive else None
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "b p"], y: Float[Tensor, "b p"]) -> Float[Tensor, "b o"]:
        """Multiply the vectors, (b, outputs)."""
        if self.gate is not None:
            share = self.gate(torch.cat([x, y], -1)).sigmoid()
            x, y = 2 * share * x, 2 * (1 - share) * y
        product = self.dropout(self.first(x) * self.second(y))
        z = product.view(len(product), -1, self.factors).sum(-1)
        rooted = z / (z.abs() + ROOT_OFFSET).sqrt()
        scaled: Tensor = F.normalize(rooted, dim=-1) * z.shape[-1] ** 0.5
        return scaled


def _weighted(frames: Float[Tensor, "b t w"], weights: Float[Tensor, "b t"]) -> Float[Tensor, "b w"]:
    return (frames * weights[..., None]).sum(1)
