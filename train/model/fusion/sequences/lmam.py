"""Low-rank matching attention over frames, after the abstract of Shou et al. (TAFFC 2025, arXiv 2306.17799)."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from .....shared.config.fusion_settings import LmamSettings
from ...architecture import Architecture
from ...pooling import masked_mean
from ..base import Fused, FusionHead, Streams


class MatchingAttention(nn.Module):
    """Every sequence is matched with every sequence, itself too; all directions share one matrix of rank r.

    score(Q, K) = (Q U + u)(K P)' / sqrt(r), match(Q, K) = softmax(score) K: the values are the sequence itself.
    X_s' = LayerNorm(gelu(sum over all streams of match(X_s, X_u)) + X_s), with a LayerNorm of its own for each stream.
    """

    def __init__(self, *, width: int, rank: int, streams: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, rank)
        self.key = nn.Linear(width, rank, bias=False)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(streams))

    def forward(
        self, sequences: Sequence[Float[Tensor, "b _ d"]], valid: Sequence[Bool[Tensor, "b _"]]
    ) -> list[Float[Tensor, "b _ d"]]:
        """Transform the sequences; each row has at least one valid position in each of them."""
        keys = [self.key(x) for x in sequences]
        results = []
        for x, norm in zip(sequences, self.norms, strict=True):
            query = self.query(x)
            matched = [
                # Scaled by the square root of the width of the queries, which is r.
                F.scaled_dot_product_attention(query, key, values, attn_mask=mask[:, None])
                for key, values, mask in zip(keys, sequences, valid, strict=True)
            ]
            results.append(norm(F.gelu(torch.stack(matched).sum(0)) + x))
        return results


class LmamFusion(FusionHead):
    """z = the means over time of all streams after matching, joined: (b, streams d)."""

    def __init__(self, a: Architecture, options: LmamSettings) -> None:
        super().__init__()
        count = len(a.frame_shapes)
        self.matching = MatchingAttention(width=a.width, rank=options.rank, streams=count)
        self.width = count * a.width

    def forward(self, streams: Streams) -> Fused:
        """See FusionHead."""
        sides = list(streams.values())
        matched = self.matching([side.values for side in sides], [side.valid for side in sides])
        means = [masked_mean(x, side.valid) for x, side in zip(matched, sides, strict=True)]
        return Fused(torch.cat(means, -1))
