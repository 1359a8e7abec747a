"""Foal-Net's cross-attention: each stream reads every other one (Li et al. 2024, section 2.2)."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .....shared.config.fusion_settings import CrossAttentionSettings
from ....data.streams import Pair
from ...architecture import Architecture
from ...layers import CrossAttention, sinusoidal_positions
from ...pooling import Pooling
from ..base import Fused, FusedPairs, FusionHead, Partners, Streams


class CrossAttentionFusion(FusionHead):
    """Every input reads every other one through a stack of its own; the results are averaged, then pooled over time.

    A single input reads itself. The fused vector joins the pooled sequences of all inputs; `parts` has them by input.
    """

    def __init__(self, a: Architecture, options: CrossAttentionSettings) -> None:
        super().__init__()
        names = list(a.frame_shapes)
        read_by = {name: [other for other in names if other != name] or [name] for name in names}
        self.positions, self.layers = a.positions, a.layers
        self.stacks = nn.ModuleDict(
            {name: nn.ModuleDict({read: self._stack(a) for read in read_by[name]}) for name in names}
        )
        self.pools = nn.ModuleDict({name: Pooling(width=a.width, parts=a.pool) for name in names})
        self.pooled_width = a.width * len(a.pool)
        self.width = len(names) * self.pooled_width
        self.directions: tuple[Pair, ...] = tuple((name, read) for name in names for read in read_by[name])

    @staticmethod
    def _stack(a: Architecture) -> nn.ModuleList:
        return nn.ModuleList(
            CrossAttention(width=a.width, heads=a.heads, dropout=a.dropout, feed_forward=a.feed_forward)
            for _ in range(a.layers)
        )

    def forward(self, streams: Streams) -> Fused:
        """See FusionHead."""
        return self._fused(streams, None).own

    def fuse_pairs(self, streams: Streams, partners: Partners) -> FusedPairs:
        """See FusionHead. The pairs are the pooled sequences of the reader; keys and values are computed once per row.

        Without attention layers a pair is represented by the product of its two pooled sequences.
        """
        own, pairs = self._fused(streams, partners)
        if self.layers:
            return FusedPairs(own, pairs)
        products = {direction: pairs[direction] * own.parts[direction[1]][rows] for direction, rows in partners.items()}
        return FusedPairs(own, products)

    def build_matcher(self) -> nn.Module:
        """A head for each direction, as in section 2.3."""
        return DirectionMatcher(self.directions, self.pooled_width)

    def _fused(self, streams: Streams, partners: Partners | None) -> FusedPairs:
        own: dict[str, Tensor] = {}
        pairs: dict[Pair, Tensor] = {}
        for name in streams:
            reads = [read for reader, read in self.directions if reader == name]
            sequences = []
            for read in reads:
                rows = None if partners is None else partners[name, read]
                x = self._attend(name, read, streams, rows)
                pairs[name, read] = self._pool(name, x, streams[name].valid)
                if rows is not None:
                    pairs[name, read] = pairs[name, read].expand(len(rows), -1, -1)
                sequences.append(x[: len(streams[name].values)])
            if len(reads) == 1:
                own[name] = pairs[name, reads[0]][0]
            else:
                own[name] = self._pool(name, torch.stack(sequences).mean(0), streams[name].valid)[0]
        return FusedPairs(Fused(torch.cat(list(own.values()), -1), own), pairs)

    def _attend(
        self, reader: str, read: str, streams: Streams, partners: Int[Tensor, "k b"] | None
    ) -> Float[Tensor, "kb t d"]:
        """The sequences of one input after reading another one: (k b, t, d), or (b, t, d) without attention layers."""
        own, other = streams[reader], streams[read]
        x, keys = own.values, other.values
        rows = torch.arange(len(x), device=x.device) if partners is None else partners.flatten()
        if self.positions:
            x, keys = _with_positions(x), _with_positions(keys)
        for layer in self.stacks[reader][read]:  # type: ignore[index]  # a ModuleDict of ModuleLists
            x = layer(x, keys, other.valid, rows)
        return x

    def _pool(self, name: str, x: Float[Tensor, "kb t d"], valid: Bool[Tensor, "b t"]) -> Float[Tensor, "k b p"]:
        k = len(x) // len(valid)
        pooled: Tensor = self.pools[name](x, valid.repeat(k, 1)).view(k, len(valid), -1)
        return pooled


class DirectionMatcher(nn.Module):
    """A linear layer for each direction: "different emotion", "same emotion"."""

    def __init__(self, directions: tuple[Pair, ...], width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleDict()
        for reader, read in directions:
            if reader not in self.heads:
                self.heads[reader] = nn.ModuleDict()
            self.heads[reader][read] = nn.Linear(width, 2)  # type: ignore[operator]

    def forward(self, pairs: Mapping[Pair, Float[Tensor, "k b p"]]) -> dict[Pair, Float[Tensor, "k b 2"]]:
        """Logits by direction."""
        return {
            (reader, read): self.heads[reader][read](vectors)  # type: ignore[index]
            for (reader, read), vectors in pairs.items()
        }


def _with_positions(x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
    return x + sinusoidal_positions(x.shape[1], x.shape[2], x.device)
