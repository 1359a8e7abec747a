"""Weights over the streams, computed from all of them: the `attention` model of MERBench (Lian et al. 2024)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .....shared.config.fusion_settings import AttentionSettings
from ...architecture import Architecture
from ...dropout import Dropout
from ..base import Fused, FusionHead, Streams
from ..layers import utterance_vectors


class AttentionFusion(FusionHead):
    """z = sum of w_s u_s over the streams, u_s the mean of stream s, with one weight w_s per stream and utterance.

    The weights are read from all means by a layer with ReLU and a linear layer. They sum to 1; without `softmax` they
    are unbounded and may be negative, as in MERBench's code.
    """

    def __init__(self, a: Architecture, options: AttentionSettings) -> None:
        super().__init__()
        streams = len(a.frame_shapes)
        self.softmax = options.softmax
        self.scores = nn.Sequential(
            nn.Linear(streams * a.width, options.hidden),
            nn.ReLU(),
            Dropout(a.dropout),
            nn.Linear(options.hidden, streams),
        )
        self.width = a.width

    def forward(self, streams: Streams) -> Fused:
        """See FusionHead."""
        vectors = utterance_vectors(list(streams.values()))
        weights = self.weigh(vectors)
        return Fused((torch.stack(vectors, 1) * weights[..., None]).sum(1))

    def weigh(self, vectors: Sequence[Float[Tensor, "b d"]]) -> Float[Tensor, "b m"]:
        """The weights of m streams."""
        scores: Tensor = self.scores(torch.cat(list(vectors), -1))
        return scores.softmax(-1) if self.softmax else scores
