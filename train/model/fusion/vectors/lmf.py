"""Low-rank multimodal fusion (Liu et al. 2018): a linear map of the outer product of all streams, factorized."""

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from .....shared.config.fusion_settings import LmfSettings
from ...architecture import Architecture
from ..base import Fused, FusionHead, Streams
from ..layers import utterance_vectors


class LmfFusion(FusionHead):
    """z = bias + mean over r of the product over s of (1 + b_s[r] + F_s[r] u_s), u_s the normalized mean of stream s.

    The weight of the constant 1 of [1; u_s] is stored as 1 + b_s[r]: with every initialization, terms of one stream
    begin as strong as products. A weight per r, as in public code, would add nothing: the factors contain it. The means
    are normalized (LayerNorm without weights), since the product of unscaled inputs grows with the number of streams.
    """

    def __init__(self, a: Architecture, options: LmfSettings) -> None:
        super().__init__()
        self.rank = options.rank
        self.factors = nn.ModuleDict({name: nn.Linear(a.width, options.rank * a.width) for name in a.frame_shapes})
        self.bias = nn.Parameter(torch.zeros(a.width))
        self.width = a.width

    def forward(self, streams: Streams) -> Fused:
        """See FusionHead."""
        means = utterance_vectors(list(streams.values()))
        product = torch.ones_like(means[0][:, :1])
        for name, mean in zip(streams, means, strict=True):
            product = product * (1 + self.factors[name](F.layer_norm(mean, mean.shape[1:])))
        return Fused(self.bias + product.view(len(product), self.rank, -1).mean(1))
