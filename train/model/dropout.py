"""Dropout of single elements, and of units of whole sequences."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Dropout(nn.Module):
    """Dropout of the elements of a vector or matrix: zero with probability p, else scaled by 1 / (1 - p).

    The same as nn.Dropout, in half the time on a CPU, where drawing Bernoulli numbers is slow.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Zero some elements and scale the others up; the identity in eval mode."""
        if not self.training or self.p == 0:
            return x
        return x * self._factors(x, x.shape)

    def _factors(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        uniform = torch.rand(shape, device=x.device)
        return uniform.ge_(self.p).div_(1 - self.p).to(x.dtype)


class SequenceDropout(Dropout):
    """Dropout with one mask per sequence: a unit is zero in all frames or in none.

    A new mask per frame would average out in the mean over time: 100 frames leave a tenth of its noise. In the paper
    dropout is applied to vectors that are averaged already. One mask is also much cheaper on a CPU.
    """

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """Zero some units of each sequence and scale the others up; the identity in eval mode."""
        if not self.training or self.p == 0:
            return x
        return x * self._factors(x, (len(x), 1, x.shape[-1]))
