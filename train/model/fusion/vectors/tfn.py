"""Tensor fusion network (Zadeh et al. 2017): the outer product of all streams."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .....shared.config.fusion_settings import TfnSettings
from .....shared.errors import TrainingError
from ...architecture import Architecture
from ...dropout import Dropout
from ..base import Fused, FusionHead, Streams
from ..layers import utterance_vectors

MAX_WEIGHTS = 2**25
"""Weights of the layer that reads the tensor; three streams of 32 and 128 hidden units have 4.6 million."""


class TfnFusion(FusionHead):
    """z = relu(W2 relu(W1 dropout(Z))), Z the outer product of [1; R_s u_s] over the streams, u_s their means.

    The 1 keeps the terms of single streams, and of each pair of three. R_s reduces a stream to `reduced` dimensions:
    the size of Z is (reduced + 1) to the power of the number of streams.
    """

    def __init__(self, a: Architecture, options: TfnSettings) -> None:
        super().__init__()
        size = (options.reduced + 1) ** len(a.frame_shapes)
        if size * options.hidden > MAX_WEIGHTS:
            raise TrainingError(
                f"train.fusion: tfn over {len(a.frame_shapes)} streams has a tensor of {size:,} numbers, and a layer "
                f"of {size * options.hidden:,} weights; expected at most {MAX_WEIGHTS:,}. Lower train.fusion_options "
                f"reduced ({options.reduced}) or hidden ({options.hidden}), or choose lmf"
            )
        self.reduce = nn.ModuleDict({name: nn.Linear(a.width, options.reduced) for name in a.frame_shapes})
        self.layers = nn.Sequential(
            Dropout(a.dropout),
            nn.Linear(size, options.hidden),
            nn.ReLU(),
            nn.Linear(options.hidden, options.hidden),
            nn.ReLU(),
        )
        self.width = options.hidden

    def forward(self, streams: Streams) -> Fused:
        """See FusionHead."""
        means = zip(streams, utterance_vectors(list(streams.values())), strict=True)
        return Fused(self.layers(outer_product([self.reduce[name](mean) for name, mean in means])))


def outer_product(vectors: Sequence[Float[Tensor, "b _"]]) -> Float[Tensor, "b n"]:
    """The outer product of [1; v] over the vectors, flattened; the last vector varies fastest."""
    product = torch.ones_like(vectors[0][:, :1])
    for vector in vectors:
        extended = nn.functional.pad(vector, (1, 0), value=1.0)
        product = (product[:, :, None] * extended[:, None]).flatten(1)
    return product
