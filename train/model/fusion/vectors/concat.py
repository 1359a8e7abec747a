"""Concatenation of the mean of each stream: the yardstick of all other heads."""

import torch
from torch import nn

from .....shared.config.fusion_settings import ConcatSettings
from ...architecture import Architecture
from ...dropout import Dropout
from ...pooling import masked_mean
from ..base import Fused, FusionHead, Streams


class ConcatFusion(FusionHead):
    """z = [mean of each stream], and with `hidden` units a layer with GELU after it."""

    def __init__(self, a: Architecture, options: ConcatSettings) -> None:
        super().__init__()
        joined = len(a.frame_shapes) * a.width
        self.hidden = (
            nn.Sequential(nn.Linear(joined, options.hidden), nn.GELU(), Dropout(a.dropout)) if options.hidden else None
        )
        self.width = options.hidden or joined

    def forward(self, streams: Streams) -> Fused:
        """See FusionHead."""
        joined = torch.cat([masked_mean(side.values, side.valid) for side in streams.values()], -1)
        return Fused(joined if self.hidden is None else self.hidden(joined))
