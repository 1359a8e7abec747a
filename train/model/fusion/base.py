"""The interface of a fusion head: projected streams in, one vector per utterance out, losses of its own by name."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...data.streams import Pair
from ..pooling import Projected, masked_mean

Streams = Mapping[str, Projected]
"""Projected sequences by input, (b, t, d) each with its own t; an absent modality is one learned placeholder frame."""
Partners = Mapping[Pair, Int[Tensor, "k b"]]
"""By direction (reader, read), rows of the input that is read; the first of k are each row's own."""


class Fused(NamedTuple):
    """Result of a fusion head.

    Attributes:
        vector: the fused vector of each utterance, (b, w), which the classifier reads.
        parts: what the losses of the head read, by name; b rows each.
    """

    vector: Float[Tensor, "b w"]
    parts: Mapping[str, Tensor] = {}


class FusedPairs(NamedTuple):
    """An utterance's own fusion, and by direction the vectors of each row with k partners, (k, b, p)."""

    own: Fused
    pairs: Mapping[Pair, Float[Tensor, "k b p"]]


class Supervision(NamedTuple):
    """What the losses of a head may read.

    Attributes:
        labels: class of each row, (b,); None: the network learns no classes.
        rows: row of the dataset, (b,); equal numbers are copies of an utterance, which are no positives of each other.
    """

    labels: Int[Tensor, " b"] | None
    rows: Int[Tensor, " b"]


class FusionHead(nn.Module, ABC):
    """A fusion system. A new one implements `forward`, and is added to registry.py and fusion_settings.py.

    Attributes:
        width: width of the fused vector, w.
        on_grid: whether the head reads all streams on one time grid. MEM's pairs are then reduced to the frames that
            are valid in all streams: a pair of two utterances has different lengths, which would give it away.
    """

    width: int
    on_grid: bool = False

    @abstractmethod
    def forward(self, streams: Streams) -> Fused:
        """Fuse the streams of b utterances. Invalid frames may contain any finite value and must not be read."""

    def extra_losses(self, fused: Fused, streams: Streams, supervision: Supervision) -> dict[str, Float[Tensor, ""]]:
        """Weighted losses of the head by name, of the utterances' own fusion; only called in training."""
        return {}

    def fuse_pairs(self, streams: Streams, partners: Partners) -> FusedPairs:
        """Fuse each row with k partners in each direction: MEM asks whether both express the same emotion.

        A partner replaces the stream that is read; all other streams remain the row's own.
        """
        own = self(streams)
        matched = self(common_frames(to_grid(streams))) if self.on_grid else own
        pairs = {}
        for (reader, read), rows in partners.items():
            others = rows[1:]
            k = len(others)
            mixed = {
                name: _selected(side, others.flatten()) if name == read else _repeated(side, k)
                for name, side in streams.items()
            }
            vectors = self(common_frames(to_grid(mixed)) if self.on_grid else mixed).vector
            pairs[reader, read] = torch.cat([matched.vector[None], vectors.view(k, len(rows[0]), -1)])
        return FusedPairs(own, pairs)

    def build_matcher(self) -> nn.Module:
        """MEM's head: a module from the pairs of `fuse_pairs` to logits (k, b, 2) by direction."""
        return JointMatcher(self.width)


class JointMatcher(nn.Module):
    """One linear layer for all directions: "different emotion", "same emotion"."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2)

    def forward(self, pairs: Mapping[Pair, Float[Tensor, "k b p"]]) -> dict[Pair, Float[Tensor, "k b 2"]]:
        """Logits by direction."""
        return {direction: self.linear(vectors) for direction, vectors in pairs.items()}


def to_grid(streams: Streams) -> dict[str, Projected]:
    """Bring streams to one number of frames, t.

    Streams have one frame rate (see `Needs.grid`); their lengths differ by rounding at most. A single valid frame, as
    of an absent modality or of a stream of one vector per utterance, is repeated in all frames that are valid in the
    others; without any it becomes frame 0.
    """
    length = max(side.valid.shape[1] for side in streams.values())
    padded = {name: _padded(side, length) for name, side in streams.items()}
    single = {name: side.valid.sum(1, keepdim=True) == 1 for name, side in padded.items()}
    timed = torch.stack([side.valid & ~single[name] for name, side in padded.items()]).any(0)
    first = torch.arange(length, device=timed.device) == 0
    everywhere = torch.where(timed.any(1, keepdim=True), timed, first)
    return {
        name: side._replace(
            values=torch.where(single[name][..., None], masked_mean(side.values, side.valid)[:, None], side.values),
            valid=torch.where(single[name], everywhere, side.valid),
        )
        for name, side in padded.items()
    }


def common_frames(streams: Streams) -> dict[str, Projected]:
    """Restrict streams on one grid to the frames that are valid in all of them; rows without any keep their own."""
    common = torch.stack([side.valid for side in streams.values()]).all(0)
    shared = common.any(1, keepdim=True)
    return {name: side._replace(valid=torch.where(shared, common, side.valid)) for name, side in streams.items()}


def _padded(side: Projected, length: int) -> Projected:
    missing = length - side.valid.shape[1]
    if missing == 0:
        return side
    return side._replace(
        values=nn.functional.pad(side.values, (0, 0, 0, missing)),
        valid=nn.functional.pad(side.valid, (0, missing)),
        inputs=nn.functional.pad(side.inputs, (0, 0, 0, missing)),
    )


def _selected(side: Projected, rows: Int[Tensor, " n"]) -> Projected:
    return Projected(*(part.index_select(0, rows) for part in side))


def _repeated(side: Projected, k: int) -> Projected:
    return Projected(*(part.repeat(k, *[1] * (part.dim() - 1)) for part in side))
