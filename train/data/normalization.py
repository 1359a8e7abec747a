"""What the features of a training fold are standardised with."""

import math

import torch
from torch import Tensor

from .features import Features
from .sequences import PackedSequences, frame_index

CHUNK_BYTES = 32 << 20
"""Frames handled at once in double precision."""


def frame_statistics(features: Features, rows: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and standard deviation ([layers,] width), float32, over the valid frames of utterances `rows`, by modality.

    A dimension that never varies has deviation 1, and so has every dimension where there is no frame at all.
    """
    sums: dict[str, _Sums] = {}
    for visit in features.visits(rows):
        for name, stream in visit.streams.items():
            sums.setdefault(name, _Sums(stream)).add(stream, visit.positions)
    return {name: sums[name].statistics() for name in features.frame_shapes}


class _Sums:
    """Running sums of one modality, in double precision."""

    def __init__(self, like: PackedSequences) -> None:
        self.total = torch.zeros(like.frame_shape, dtype=torch.float64, device=like.values.device)
        self.squares, self.count = self.total.clone(), 0

    def add(self, stream: PackedSequences, positions: Tensor) -> None:
        index = frame_index(stream, positions).to(stream.values.device)
        index = index[stream.valid[index]]
        for chunk in torch.split(index, max(1, CHUNK_BYTES // (8 * math.prod(stream.frame_shape)))):
            values = stream.values[chunk].double()
            self.total += values.sum(0)
            self.squares += values.square().sum(0)
        self.count += len(index)

    def statistics(self) -> tuple[Tensor, Tensor]:
        mean = self.total / max(self.count, 1)
        deviation = (self.squares / max(self.count, 1) - mean.square()).clamp(min=0).sqrt()
        # Below this a deviation is the rounding error of the difference above, not a property of the data.
        deviation = deviation.where(deviation > 1e-6 * (1 + mean.abs()), 1.0)
        return mean.float(), deviation.float()
