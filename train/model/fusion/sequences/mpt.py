"""Multimodal prompt transformer with hybrid contrastive learning, in the manner of Zou et al. (ACM MM 2023)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .....shared.config.fusion_settings import MptSettings
from ....data.streams import leading_stream
from ...architecture import Architecture
from ...pooling import Projected, masked_mean
from ..base import Fused, FusionHead, Streams, Supervision
from ..layers import Attention, TransformerLayer, paired_contrastive, supervised_contrastive


class PromptFilter(nn.Module):
    """The prompts of a weak stream: learned queries read it, and a gate that sees the strong stream scales them.

    P = MHA(q, W, W), P <- g P with g = sigmoid(G [P; mean(S)]). `gate` has the width of the prompts.
    """

    def __init__(self, *, width: int, heads: int, prompts: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(prompts, width))
        self.attention = Attention(width=width, heads=heads)
        self.gate = nn.Linear(2 * width, width)

    def forward(self, weak: Projected, strong: Float[Tensor, "b d"]) -> Float[Tensor, "b p d"]:
        """Prompts from a weak stream and the mean of the strong one."""
        queries = self.queries.expand(len(strong), -1, -1)
        prompts: Tensor = self.attention(queries, weak.values, weak.valid)
        gate = self.gate(torch.cat([prompts, strong[:, None].expand_as(prompts)], -1)).sigmoid()
        scaled: Tensor = gate * prompts
        return scaled


class MptFusion(FusionHead):
    """A transformer over the strong stream, each layer of which also reads the prompts of all weak streams.

    z = [mean of the strong stream; mean of the prompts], (b, 2 d). The prompts of a weak stream that is missing in a
    row are masked in all layers and in the mean: with all of them missing, the strong stream is encoded as without
    prompts. A missing strong stream is one placeholder frame, which is left with the prompts.
    """

    def __init__(self, a: Architecture, options: MptSettings) -> None:
        super().__init__()
        self.options = options
        self.strong = options.strong or leading_stream(list(a.frame_shapes))
        self.filters = nn.ModuleDict(
            {
                name: PromptFilter(width=a.width, heads=options.heads, prompts=options.prompts)
                for name in a.frame_shapes
                if name != self.strong
            }
        )
        self.layers = nn.ModuleList(
            TransformerLayer(width=a.width, heads=options.heads, dropout=a.dropout) for _ in range(options.layers)
        )
        self.adapters = nn.ModuleList(nn.Linear(a.width, a.width) for _ in range(options.layers))
        self.width = 2 * a.width

    def forward(self, streams: Streams) -> Fused:
        """See FusionHead."""
        strong = streams[self.strong]
        mean = masked_mean(strong.values, strong.valid)
        prompts = torch.cat([encode(streams[name], mean) for name, encode in self.filters.items()], 1)
        usable = torch.cat(
            [streams[name].present[:, None].expand(-1, self.options.prompts) for name in self.filters], 1
        )
        x = self.encode(strong, prompts, usable)
        return Fused(torch.cat([masked_mean(x, strong.valid), masked_mean(prompts, usable)], -1))

    def encode(
        self, strong: Projected, prompts: Float[Tensor, "b p d"], usable: Bool[Tensor, "b p"]
    ) -> Float[Tensor, "b t d"]:
        """The strong stream after all layers; each reads its own linear map of the prompts, and the frames."""
        x = strong.values
        valid = torch.cat([usable, strong.valid], 1)
        for layer, adapter in zip(self.layers, self.adapters, strict=True):
            x = layer(x, valid, torch.cat([adapter(prompts), x], 1))
        return x

    def extra_losses(self, fused: Fused, streams: Streams, supervision: Supervision) -> dict[str, Float[Tensor, ""]]:
        """Contrastive losses of two dropout passes: between the passes (SimCSE, Gao et al. 2021), and between classes.

        Rows without the strong stream do not count. The two vectors of an utterance, and copies of it, are no positives
        of each other in the supervised loss, and no negatives in the unsupervised one.
        """
        options = self.options
        if not (options.unsupervised or options.supervised):
            return {}
        counted = streams[self.strong].present
        rows = supervision.rows[counted]
        first, second = fused.vector[counted], self(streams).vector[counted]
        losses = {}
        if options.unsupervised:
            loss = paired_contrastive(first, second, rows, options.temperature)
            losses["unsupervised"] = options.unsupervised * loss
        if options.supervised and supervision.labels is not None:
            both, labels = torch.cat([first, second]), supervision.labels[counted]
            loss = supervised_contrastive(both, labels.repeat(2), rows.repeat(2), options.temperature)
            losses["supervised"] = options.supervised * loss
        return losses
