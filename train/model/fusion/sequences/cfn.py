"""Cross-modal fusion with vector connections, in the manner of Shi et al. (ICIC 2024, arXiv 2405.17900)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from .....shared.config.fusion_settings import CfnSettings
from ...architecture import Architecture
from ...dropout import Dropout
from ...pooling import masked_mean
from ..base import Fused, FusionHead, Streams, Supervision
from ..layers import TransformerLayer, supervised_contrastive

CONNECTION = "connection"
"""Key of z in `Fused.parts`, and in `extra_losses` of the losses that read it."""


class CfnFusion(FusionHead):
    """Each stream is encoded together with K connection vectors, whose mean over the streams the next layer reads.

    Streams exchange information through these vectors only. The encoder of a missing stream is skipped: the vectors are
    the mean over the streams that are there, and the stream remains its placeholder. In a row without any stream the
    vectors stay those of the placeholders of all.

    The fused vector joins the means of all streams and z, the mean of the connection vectors: a linear layer on it is
    the mean of one linear classifier [mean of stream m; z] for each stream. `parts` has z.
    """

    def __init__(self, a: Architecture, options: CfnSettings) -> None:
        super().__init__()
        self.options = options
        self.vectors = nn.Parameter(torch.randn(options.vectors, a.width))
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    name: TransformerLayer(width=a.width, heads=options.heads, dropout=a.dropout)
                    for name in a.frame_shapes
                }
            )
            for _ in range(options.layers)
        )
        self.width = (len(a.frame_shapes) + 1) * a.width
        supervised = a.classes > 0 and options.classifiers > 0
        self.dropout = Dropout(a.dropout)
        self.classifiers = nn.ModuleDict(
            {name: nn.Linear(2 * a.width, a.classes) for name in a.frame_shapes} if supervised else {}
        )

    def forward(self, streams: Streams) -> Fused:
        """See FusionHead."""
        count = len(self.vectors)
        present = torch.stack([side.present for side in streams.values()])  # (M, b)
        used = present | ~present.any(0)
        weights = (used / used.sum(0))[..., None, None]
        frames = {name: side.values for name, side in streams.items()}
        masks = {name: F.pad(side.valid, (count, 0), value=True) for name, side in streams.items()}
        vectors = self.vectors.expand(present.shape[1], -1, -1)
        for layer in self.layers:
            written = []
            for (name, x), is_used in zip(frames.items(), used, strict=True):
                encoded = layer[name](torch.cat([vectors, x], 1), masks[name])  # type: ignore[index]
                written.append(encoded[:, :count])
                frames[name] = torch.where(is_used[:, None, None], encoded[:, count:], x)
            vectors = (torch.stack(written) * weights).sum(0)
        z = vectors.mean(1)
        means = [masked_mean(x, side.valid) for x, side in zip(frames.values(), streams.values(), strict=True)]
        return Fused(torch.cat([*means, z], -1), {CONNECTION: z})

    def extra_losses(self, fused: Fused, streams: Streams, supervision: Supervision) -> dict[str, Float[Tensor, ""]]:
        """The cross entropies of one classifier per stream, and a supervised contrastive loss of z.

        A classifier learns from the rows with its stream; a row without any stream is left out of the contrastive loss.
        """
        labels = supervision.labels
        losses: dict[str, Tensor] = {}
        if labels is None:
            return losses
        present = {name: side.present for name, side in streams.items()}
        z = fused.parts[CONNECTION]
        if self.classifiers:
            means = fused.vector.chunk(len(streams) + 1, -1)
            entropies = [
                present_cross_entropy(classify(self.dropout(torch.cat([mean, z], -1))), labels, present[name])
                for (name, classify), mean in zip(self.classifiers.items(), means, strict=False)  # the last part is z
            ]
            losses["classifiers"] = self.options.classifiers * torch.stack(entropies).mean()
        if self.options.contrastive:
            counted = torch.stack(list(present.values())).any(0)
            loss = supervised_contrastive(
                z[counted], labels[counted], supervision.rows[counted], self.options.temperature
            )
            losses["contrastive"] = self.options.contrastive * loss
        return losses


def present_cross_entropy(
    logits: Float[Tensor, "b c"], labels: Int[Tensor, " b"], present: Bool[Tensor, " b"]
) -> Float[Tensor, ""]:
    """Mean cross entropy of the present rows; 0 without any."""
    return (F.cross_entropy(logits, labels, reduction="none") * present).sum() / present.sum().clamp(min=1)
