"""Modality-invariant and -specific representations (MISA, Hazarika et al. 2020), over one vector per stream."""

import math
from itertools import combinations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from .....shared.config.fusion_settings import MisaSettings
from ...architecture import Architecture
from ...dropout import Dropout
from ..base import Fused, FusionHead, Streams, Supervision
from ..layers import TransformerLayer, utterance_vectors

CMD_OFFSET = 2.0**-40
"""Added to squared norms: the root has no gradient at 0, where the moments are equal. A power of 4, so that the root
is exact and can be subtracted again."""

LENGTH_OFFSET = 1e-6
"""Added to squared lengths: a row at the mean of the batch has no direction."""


class MisaFusion(FusionHead):
    """Each stream in a space that all share and in one of its own; a transformer layer over all of these, then an MLP.

    Three losses shape the spaces: the shared representations have equal moments (similarity), those of different
    spaces are not correlated (difference), and both together contain the stream (reconstruction). All of them leave
    out the rows that lack the modality; moments and correlations need two rows.

    `parts` are the representations of m streams, (b, m, d): `vectors`, `shared` and `private`.
    """

    def __init__(self, a: Architecture, options: MisaSettings) -> None:
        super().__init__()
        m, d = len(a.frame_shapes), a.width
        self.options = options
        self.inputs = nn.ModuleList(nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.LayerNorm(d)) for _ in range(m))
        self.private = nn.ModuleList(nn.Sequential(nn.Linear(d, d), nn.Sigmoid()) for _ in range(m))
        self.shared = nn.Sequential(nn.Linear(d, d), nn.Sigmoid())
        self.decoders = nn.ModuleList(nn.Linear(d, d) for _ in range(m))
        self.mix = TransformerLayer(width=d, heads=options.heads, dropout=a.dropout)
        self.output = nn.Sequential(nn.Linear(2 * m * d, m * d), Dropout(a.dropout), nn.ReLU(), nn.Linear(m * d, d))
        self.width = d

    def forward(self, streams: Streams) -> Fused:
        """See FusionHead."""
        means = utterance_vectors(list(streams.values()))
        vectors = [layer(mean) for layer, mean in zip(self.inputs, means, strict=True)]
        private = torch.stack([layer(x) for layer, x in zip(self.private, vectors, strict=True)], 1)
        shared = self.shared(torch.stack(vectors, 1))
        tokens = torch.cat([private, shared], 1)
        mixed = self.mix(tokens, tokens.new_ones(tokens.shape[:2], dtype=torch.bool))
        parts = {"vectors": torch.stack(vectors, 1), "shared": shared, "private": private}
        return Fused(self.output(mixed.flatten(1)), parts)

    def extra_losses(self, fused: Fused, streams: Streams, supervision: Supervision) -> dict[str, Float[Tensor, ""]]:
        """Similarity (mean over pairs of streams), difference (sum) and reconstruction (mean over streams)."""
        private, shared = (fused.parts[name].float().unbind(1) for name in ("private", "shared"))
        present = [side.present for side in streams.values()]
        pairs = [(i, j, present[i] & present[j]) for i, j in combinations(range(len(present)), 2)]
        similarity = [
            moment_discrepancy(shared[i][rows], shared[j][rows], self.options.moments) for i, j, rows in pairs
        ]
        difference = [correlation(p[rows], s[rows]) for p, s, rows in zip(private, shared, present, strict=True)]
        difference += [correlation(private[i][rows], private[j][rows]) for i, j, rows in pairs]
        return {
            "similarity": self.options.similarity * torch.stack(similarity).mean(),
            "difference": self.options.difference * torch.stack(difference).sum(),
            "reconstruction": self.options.reconstruction * self._reconstruction(fused, torch.stack(present, 1)),
        }

    def _reconstruction(self, fused: Fused, present: Bool[Tensor, "b m"]) -> Float[Tensor, ""]:
        both = (fused.parts["private"] + fused.parts["shared"]).unbind(1)
        decoded = torch.stack([decode(x) for decode, x in zip(self.decoders, both, strict=True)], 1)
        errors = F.mse_loss(decoded.float(), fused.parts["vectors"].float(), reduction="none").mean(-1)
        by_stream = (errors * present).sum(0) / present.sum(0).clamp(min=1)
        return by_stream.mean()


def moment_discrepancy(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], moments: int) -> Float[Tensor, ""]:
    """Central moment discrepancy (Zellinger et al. 2017): distances of the means and of the moments 2 to `moments`.

    0 for less than two rows.
    """
    if len(x) < 2:
        return 0 * (x.sum() + y.sum())
    x_mean, y_mean = x.mean(0), y.mean(0)
    total = _distance(x_mean, y_mean)
    x_centered, y_centered = x - x_mean, y - y_mean
    for k in range(2, moments + 1):
        total = total + _distance(x_centered.pow(k).mean(0), y_centered.pow(k).mean(0))
    return total


def correlation(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean square of the entries of X'Y, (d, d), with centered columns and rows of unit length.

    0 for orthogonal column spaces, and for less than two rows.
    """
    if len(x) < 2:
        return 0 * (x.sum() + y.sum())
    return (_unit_rows(x - x.mean(0)).T @ _unit_rows(y - y.mean(0))).square().mean()


def _distance(x: Float[Tensor, " d"], y: Float[Tensor, " d"]) -> Float[Tensor, ""]:
    return ((x - y).square().sum() + CMD_OFFSET).sqrt() - math.sqrt(CMD_OFFSET)


def _unit_rows(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    return x * (x.square().sum(1, keepdim=True) + LENGTH_OFFSET).rsqrt()
