"""Mean and standard deviation of the training frames, with which the network normalizes its inputs."""

import math

import torch
from torch import Tensor

from .features import Features
from .sequences import PackedSequences, frame_index

CHUNK_BYTES = 32 << 20
"""Bytes of frames that are summed at once in double precision."""


def frame_statistics(features: Features, rows: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and standard deviation over the valid frames of some utterances.

    Args:
        features: sequences of n utterances.
        rows: the utterances, (m,).

    Returns:
        By modality a mean and a deviation, each ([layers,] width), float32. Constant dimensions, and all dimensions
        where no frame is valid, have deviation 1.
    """
    sums: dict[str, _Sums] = {}
    for chunk in features.iter_chunks(rows):
        for name, stream in chunk.streams.items():
            sums.setdefault(name, _Sums(stream)).add(stream, chunk.positions)
    return {name: sums[name].statistics() for name in features.frame_shapes}


class _Sums:
    """Running sums of one modality, in double precision."""

    def __init__(self, like: PackedSequences) -> None:
        self.total = torch.zeros(like.frame_shape, dtype=torch.float64, device=like.values.device)
        self.squares = self.total.clone()
        self.count = 0

    def add(self, stream: PackedSequences, positions: Tensor) -> None:
        index = frame_index(stream, positions).to(stream.values.device)
        index = index[stream.valid[index]]
        for frames in torch.split(index, max(1, CHUNK_BYTES // (8 * math.prod(stream.frame_shape)))):
            values = stream.values[frames].double()
            self.total += values.sum(0)
            self.squares += values.square().sum(0)
        self.count += len(index)

    def statistics(self) -> tuple[Tensor, Tensor]:
        mean = self.total / max(self.count, 1)
        deviation = (self.squares / max(self.count, 1) - mean.square()).clamp(min=0).sqrt()
        # A smaller deviation is the rounding error of the difference above, not a property of the data.
        deviation = deviation.where(deviation > 1e-6 * (1 + mean.abs()), 1.0)
        return mean.float(), deviation.float()
