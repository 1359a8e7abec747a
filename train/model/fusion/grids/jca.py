"""Joint cross-attention of channels in a length-free form (Praveen et al. 2022, arXiv 2203.14779, and 2023)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .....shared.config.fusion_settings import JcaSettings
from ...architecture import Architecture
from ...dropout import Dropout
from ...pooling import masked_mean
from ..base import Fused, FusionHead, Streams, to_grid
from ..layers import valid_frames


class JcaFusion(FusionHead):
    """Each stream is changed by its correlation, over time, with the channels of all streams; z joins the means.

    The published matrices over time fix the number of frames. Here the correlation is a mean over the n frames that are
    valid in all streams: it has no length, does not read the order of the frames, and is zero if n = 0.
    """

    on_grid = True

    def __init__(self, a: Architecture, options: JcaSettings) -> None:
        super().__init__()
        self.names = tuple(a.frame_shapes)
        self.steps = nn.ModuleList(
            nn.ModuleDict(
                {name: ChannelAttention(a.width, streams=len(self.names), dropout=a.dropout) for name in self.names}
            )
            for _ in range(options.steps)
        )
        self.width = len(self.names) * a.width

    def forward(self, streams: Streams) -> Fused:
        """See FusionHead."""
        grid = to_grid(streams)
        valid = [grid[name].valid for name in self.names]
        common = torch.stack(valid).all(0)
        values = [valid_frames(grid[name]) for name in self.names]
        for step in self.steps:
            joint = torch.cat(values, -1)
            values = [
                step[name](x, joint, common)  # type: ignore[index]  # a ModuleDict
                for name, x in zip(self.names, values, strict=True)
            ]
        return Fused(torch.cat([masked_mean(x, side) for x, side in zip(values, valid, strict=True)], -1))


class ChannelAttention(nn.Module):
    """One step for one stream: X + relu(relu(tanh((X W_v) C)) W_o), C = tanh(mean over common frames of (X W_k)' J).

    J joins the m streams of a frame, (b, t, m d); C is (b, d, m d).
    """

    def __init__(self, width: int, *, streams: int, dropout: float) -> None:
        super().__init__()
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(streams * width, width, bias=False)
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "b t d"], joint: Float[Tensor, "b t e"], common: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b t d"]:
        """The stream after one step."""
        n = common.sum(1).clamp(min=1)[:, None, None]
        keys = self.key(x).masked_fill(~common[..., None], 0)
        correlation = torch.tanh(keys.transpose(1, 2) @ joint / n)
        read = torch.tanh(self.value(x) @ correlation).relu()
        changed: Tensor = x + self.dropout(self.output(read).relu())
        return changed
