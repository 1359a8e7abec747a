"""Gated bidirectional alignment (Liu, Li, Meng, Interspeech 2020, arXiv 2201.06309)."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .....shared.config.fusion_settings import GbanSettings
from ....data.streams import input_pairs
from ...architecture import Architecture
from ...pooling import Projected, masked_mean
from ..base import Fused, FusedPairs, FusionHead, Partners, Streams
from ..layers import PackedLstm, masked_softmax


class GatedGroup(nn.Module):
    """Two vectors, weighted against each other in every unit: z tanh(W1 x) + (1 - z) tanh(W2 y), without biases."""

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width, bias=False)
        self.second = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(2 * width, width, bias=False)

    def forward(
        self, x: Float[Tensor, "b d"], y: Float[Tensor, "b d"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
        """The weighted sum, and the gate z = sigmoid(W3 [x; y])."""
        gate = self.gate(torch.cat([x, y], -1)).sigmoid()
        return gate * self.first(x).tanh() + (1 - gate) * self.second(y).tanh(), gate


class GatedAlignment(FusionHead):
    """The fusion of sequences that the LSTMs have encoded: for each pair of streams two gated groups.

    One group fuses the aligned vectors, one the last states of the LSTMs. z is the sum of both groups, and with more
    than two streams the mean of these sums over all pairs. `parts` has the gates of the first stream of each pair,
    "FIRST|SECOND aligned" and "FIRST|SECOND last".
    """

    def __init__(self, *, width: int, names: list[str], scores: Literal["scaled", "tanh"]) -> None:
        super().__init__()
        self.width = width
        self.scores = scores
        self.pairs = input_pairs(names)
        self.aligned = nn.ModuleList(GatedGroup(width=width) for _ in self.pairs)
        self.last = nn.ModuleList(GatedGroup(width=width) for _ in self.pairs)

    def forward(self, streams: Streams) -> Fused:
        """See FusionHead; `values` are the outputs of the LSTMs."""
        last = {name: last_states(side.values, side.valid) for name, side in streams.items()}
        sums, gates = [], {}
        for (a, b), of_aligned, of_last in zip(self.pairs, self.aligned, self.last, strict=True):
            aligned, gates[f"{a}|{b} aligned"] = of_aligned(*self._align(streams[a], streams[b]))
            states, gates[f"{a}|{b} last"] = of_last(last[a], last[b])
            sums.append(aligned + states)
        return Fused(torch.stack(sums).mean(0), gates)

    def _align(self, first: Projected, second: Projected) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
        """The first stream as the frames of the second one read it, and the reverse; each a mean over the readers."""
        scores = first.values @ second.values.transpose(1, 2)  # (b, t_1, t_2)
        scores = scores.tanh() if self.scores == "tanh" else scores / self.width**0.5
        return read(scores.transpose(1, 2), second.valid, first), read(scores, first.valid, second)


class GbanFusion(FusionHead):
    """A bidirectional LSTM over each stream, then GatedAlignment. MEM's pairs share the LSTMs' outputs."""

    def __init__(self, a: Architecture, options: GbanSettings) -> None:
        super().__init__()
        names = list(a.frame_shapes)
        self.lstms = nn.ModuleDict({name: PackedLstm(width=a.width) for name in names})
        self.alignment = GatedAlignment(width=a.width, names=names, scores=options.scores)
        self.width = a.width

    def forward(self, streams: Streams) -> Fused:
        """See FusionHead."""
        fused: Fused = self.alignment(self._encode(streams))
        return fused

    def fuse_pairs(self, streams: Streams, partners: Partners) -> FusedPairs:
        """See FusionHead; the LSTMs read each row once, however many pairs it is in."""
        return self.alignment.fuse_pairs(self._encode(streams), partners)

    def _encode(self, streams: Streams) -> dict[str, Projected]:
        return {
            name: side._replace(values=self.lstms[name](side.values, side.valid)[0]) for name, side in streams.items()
        }


def read(scores: Float[Tensor, "b q k"], readers: Bool[Tensor, "b q"], side: Projected) -> Float[Tensor, "b d"]:
    """The mean over the valid readers of what they read: a sum of the frames of `side`, weighted by softmax."""
    weights = masked_softmax(scores, side.valid[:, None].expand_as(scores))
    # The mean of the weights first: the same result without a sequence of readers.
    return (masked_mean(weights, readers)[:, None] @ side.values)[:, 0]


def last_states(outputs: Float[Tensor, "b t d"], valid: Bool[Tensor, "b t"]) -> Float[Tensor, "b d"]:
    """The last state of each direction: its output at the last valid frame, backwards at the first one."""
    positions = torch.arange(valid.shape[1], device=valid.device)
    first = valid.int().argmax(1)
    last = (positions * valid).argmax(1)
    rows = torch.arange(len(outputs), device=outputs.device)
    half = outputs.shape[-1] // 2
    return torch.cat([outputs[rows, last, :half], outputs[rows, first, half:]], -1)
