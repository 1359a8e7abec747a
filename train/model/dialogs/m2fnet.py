"""The head `m2fnet`: attention over the turns of each stream, then fusion attention (Chudasama et al. 2022).

M2FNet, CVPR workshops 2022, arXiv 2206.02187. Masks, dropout, and the triplet loss as corrected here are foal's.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from ....shared.config.fusion_settings import M2fnetSettings
from ....shared.errors import TrainingError
from ...data.dataset import NO_CLASS
from ..architecture import Architecture
from ..dropout import Dropout
from ..fusion.base import Supervision
from ..fusion.layers import Attention, TransformerLayer
from .encoder import Streams, TurnEncoder, Turns, readable, real_turns, side_by_side

MIN_SQUARED_DISTANCE = 1e-6
"""Below it a distance has no gradient: the slope of the square root is infinite at zero."""


class FusionAttention(nn.Module):
    """Y' = relu(W relu([A_m for each partner m; Y])), A_m = attention(queries Y, keys H_m, values Y).

    A partner decides only which turns of the anchor are mixed.
    """

    def __init__(self, *, width: int, heads: int, partners: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(Attention(width=width, heads=heads) for _ in range(partners))
        self.linear = nn.Linear((partners + 1) * width, width)

    def forward(
        self, anchor: Float[Tensor, "D n d"], partners: list[Float[Tensor, "D n d"]], allowed: Bool[Tensor, "D n n"]
    ) -> Float[Tensor, "D n d"]:
        """Mix the turns of the anchor."""
        mixed = [
            attention(anchor, keys, allowed, anchor) for attention, keys in zip(self.attentions, partners, strict=True)
        ]
        return F.relu(self.linear(F.relu(torch.cat([*mixed, anchor], -1))))


class M2fnetEncoder(TurnEncoder):
    """H_m = H_m + Enc(H_m) per stream, `layers` times; `fusion_layers` of FusionAttention; relu(W [Y; H_partners])."""

    def __init__(self, a: Architecture, options: M2fnetSettings) -> None:
        super().__init__()
        self.anchor = chosen_anchor(list(a.frame_shapes), options.anchor)
        self.partners = [name for name in a.frame_shapes if name != self.anchor]
        self.both = a.context == "both"
        self.triplet = options.triplet
        self.encoders = nn.ModuleDict(
            {
                name: nn.ModuleList(
                    TransformerLayer(width=a.width, heads=options.heads, dropout=a.dropout)
                    for _ in range(options.layers)
                )
                for name in a.frame_shapes
            }
        )
        self.fusion = nn.ModuleList(
            FusionAttention(width=a.width, heads=options.heads, partners=len(self.partners))
            for _ in range(options.fusion_layers)
        )
        self.dropout = Dropout(a.dropout)
        self.linear = nn.Linear(len(a.frame_shapes) * a.width, a.width)
        self.width = a.width

    def forward(self, streams: Streams, turns: Turns) -> Float[Tensor, "u e"]:
        """See TurnEncoder."""
        device = turns.speakers.device
        allowed = readable(turns.counts, device, both=self.both)
        hidden = {}
        for name, layers in self.encoders.items():
            x = side_by_side(streams[name], turns.counts)
            assert isinstance(layers, nn.ModuleList)
            for layer in layers:
                x = x + layer(x, allowed)
            hidden[name] = x
        partners = [hidden[name] for name in self.partners]
        fused = hidden[self.anchor]
        for layer in self.fusion:
            fused = layer(fused, partners, allowed)
        joined = torch.cat([fused, *partners], -1)[real_turns(turns.counts, device)]
        return F.relu(self.linear(self.dropout(joined)))

    def extra_losses(
        self, encoded: Float[Tensor, "u e"], streams: Streams, turns: Turns, supervision: Supervision
    ) -> dict[str, Float[Tensor, ""]]:
        """The triplet loss of the projected vectors of single turns, mean over the streams."""
        if not self.triplet or supervision.labels is None:
            return {}
        each = []
        for name, vectors in streams.items():
            kept = turns.present[name] & (supervision.labels != NO_CLASS)
            each.append(triplet_loss(vectors[kept], supervision.labels[kept]))
        return {"triplet": self.triplet * torch.stack(each).mean()}


def chosen_anchor(names: list[str], anchor: str | None) -> str:
    """The stream whose turns are mixed: the given one, else text, else audio, else the first.

    Raises TrainingError if the given one is none of the streams.
    """
    if anchor is None:
        return next((name for part in ("text", "audio") for name in names if name.split("/")[0] == part), names[0])
    if anchor not in names:
        raise TrainingError(
            f"train.fusion_options.anchor: expected one of the streams {', '.join(names)}, got {anchor!r}"
        )
    return anchor


def triplet_loss(vectors: Float[Tensor, "m d"], labels: Int[Tensor, " m"]) -> Float[Tensor, ""]:
    """Adaptive-margin triplet loss of unit vectors: relu(ap - (an + pn) / 2 + margin), see `adaptive_margin`.

    Every pair of a class is joined by one drawn row of another class; all other classes are drawn equally often. The
    mean weighs the classes equally, and the anchors of a class. 0, with a gradient, without any triplet.
    """
    unit = F.normalize(vectors.float(), dim=-1)
    distances = (2 - 2 * unit @ unit.T).clamp(min=MIN_SQUARED_DISTANCE).sqrt()
    same = labels[:, None] == labels
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    anchors, positives = (positive & ~same.all(1, keepdim=True)).nonzero(as_tuple=True)
    if not len(anchors):
        return unit.sum() * 0
    sizes = same.sum(1).float()
    negatives = torch.multinomial((~same / sizes)[anchors], 1).squeeze(1)
    ap, an, pn = (
        distances[rows, columns]
        for rows, columns in ((anchors, positives), (anchors, negatives), (positives, negatives))
    )
    each = F.relu(ap - (an + pn) / 2 + adaptive_margin(ap, an))
    size = sizes[anchors]  # a class of s rows has s (s - 1) pairs
    weights = 1 / (size * (size - 1))
    return (each * weights).sum() / weights.sum()


@torch.no_grad()
def adaptive_margin(ap: Float[Tensor, " k"], an: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """(2 exp(-4 s_ap) + 2 exp(4 s_an - 4)) / 4 with the similarities s = 1 - distance^2 / 4; from 0.01 to 1.

    Large where the positive is far or the negative near. Without gradient: the public code lets the gradient through
    the margin and uses distances, not similarities, so that its minimum has positives farther than negatives.
    """
    similar, dissimilar = 1 - ap.square() / 4, 1 - an.square() / 4
    return (2 * (-4 * similar).exp() + 2 * (4 * dissimilar - 4).exp()) / 4
