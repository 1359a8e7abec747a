"""Multimodal transformer (Tsai et al., ACL 2019, arXiv 1906.00295)."""

from torch import nn

from .....shared.config.fusion_settings import MultSettings
from ...architecture import Architecture
from ...dropout import Dropout
from ..base import Fused, FusionHead, Streams
from ..layers import PreNormStack, with_positions
from .interaction import Interaction


class MultFusion(FusionHead):
    """Transformers from every stream to every other one, self-attention over the results, means, a residual layer.

    The keys of a cross-modal layer are always the projected frames of the other stream. There is no causal mask, and
    padding is masked. Without positions the order of the frames makes no difference.
    """

    def __init__(self, a: Architecture, options: MultSettings) -> None:
        super().__init__()
        self.positions = options.positions

        def stack(width: int) -> nn.Module:
            return PreNormStack(width=width, heads=options.heads, layers=options.layers, dropout=a.dropout)

        self.interaction = Interaction(
            list(a.frame_shapes), width=a.width, build_reader=lambda: stack(a.width), build_encoder=stack
        )
        self.width = self.interaction.width
        self.residual = nn.Sequential(
            nn.Linear(self.width, self.width), nn.ReLU(), Dropout(a.dropout), nn.Linear(self.width, self.width)
        )

    def forward(self, streams: Streams) -> Fused:
        """See FusionHead."""
        # Not scaled by sqrt(d) before positions are added: projected frames are normalized to unit variance.
        frames = {
            name: (with_positions(side.values) if self.positions else side.values, side.valid)
            for name, side in streams.items()
        }
        joined = self.interaction(frames)
        return Fused(joined + self.residual(joined))
