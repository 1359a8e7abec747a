"""Low-rank matching attention over frames, after the abstract of Shou et al. (TAFFC 2025, arXiv 2306.17799)."""

import torch

from .....shared.config.fusion_settings import LmamSettings
from ...architecture import Architecture
from ...pooling import masked_mean
from ..base import Fused, FusionHead, Streams
from ..layers import MatchingAttention


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
