"""Joint multimodal transformer (Waligora et al., CVPR workshops 2024, arXiv 2403.10488)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from .....shared.config.fusion_settings import JmtSettings
from ...architecture import Architecture
from ...pooling import masked_mean
from ..base import Fused, FusionHead, Streams, to_grid
from ..layers import Attention, TransformerLayer, valid_frames

JOINT = "joint"
"""The added stream; inputs have other names (audio, face, text, and streams of them)."""


class JmtFusion(FusionHead):
    """Streams and a joint stream of all read each other; the results of a frame are tokens of a last transformer.

    Every ordered pair of the m + 1 streams gives a token, (m + 1) m tokens per frame. z is their mean, then the mean
    over the frames that are valid in any stream. The order of the frames is not read.
    """

    on_grid = True

    def __init__(self, a: Architecture, options: JmtSettings) -> None:
        super().__init__()
        self.names = tuple(a.frame_shapes)
        self.residual = options.residual
        self.join = nn.Linear(len(self.names) * a.width, a.width)
        streams = (*self.names, JOINT)

        def encoder() -> nn.ModuleList:
            return nn.ModuleList(
                TransformerLayer(width=a.width, heads=options.heads, dropout=a.dropout, hidden=a.width)
                for _ in range(options.layers)
            )

        self.encoders = nn.ModuleDict({name: encoder() for name in streams})
        self.readers = nn.ModuleDict({name: Attention(width=a.width, heads=options.heads) for name in streams})
        self.token_encoder = encoder()
        self.token_attention = Attention(width=a.width, heads=options.heads)
        self.width = a.width

    def forward(self, streams: Streams) -> Fused:
        """See FusionHead."""
        grid = to_grid(streams)
        valid = {name: grid[name].valid for name in self.names}
        sequences = {name: F.normalize(valid_frames(grid[name]), dim=-1) for name in self.names}
        frames = torch.stack(list(valid.values())).any(0)
        sequences[JOINT], valid[JOINT] = self.join(torch.cat(list(sequences.values()), -1)), frames
        for name, layers in self.encoders.items():
            assert isinstance(layers, nn.ModuleList)
            for layer in layers:
                sequences[name] = layer(sequences[name], valid[name])
        pairs = [(reader, read) for reader in sequences for read in sequences if reader != read]
        tokens = torch.stack([self._read(*pair, sequences, valid) for pair in pairs], 2)
        readable = torch.stack([valid[reader] for reader, _ in pairs], 2)
        # Only frames of the utterance are transformed: padding would be a row without any readable token.
        vectors = self._mix(tokens[frames], readable[frames])
        mixed = vectors.new_zeros(*frames.shape, self.width).index_put((frames,), vectors)
        return Fused(masked_mean(mixed, frames))

    def _read(
        self, reader: str, read: str, sequences: dict[str, Tensor], valid: dict[str, Tensor]
    ) -> Float[Tensor, "b t d"]:
        """One stream reads another one: the query's projection is shared by all that it reads."""
        x: Tensor = self.readers[reader](sequences[reader], sequences[read], valid[read])
        return x + sequences[reader] if self.residual else x

    def _mix(self, tokens: Float[Tensor, "n p d"], valid: Bool[Tensor, "n p"]) -> Float[Tensor, "n d"]:
        """The mean of the transformed tokens of each frame: the p tokens have no order."""
        for layer in self.token_encoder:
            tokens = layer(tokens, valid)
        return masked_mean(self.token_attention(tokens, tokens, valid), valid)
