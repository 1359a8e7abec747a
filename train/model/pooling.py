"""Pooling of a sequence over time, and the linear path from pooled input features to the class scores."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .dropout import Dropout

MIN_DEVIATION = 1e-4
"""Standard deviation below which a pooled feature counts as constant."""

STD_OFFSET = 1e-5
"""Added to variances: the square root has no finite gradient at zero, which one frame or constant frames give."""


class Projected(NamedTuple):
    """One modality in the shared space; where `present` is False, the row is the learned placeholder.

    `inputs` are the standardized features, zero in invalid frames.
    """

    values: Float[Tensor, "b t d"]
    valid: Bool[Tensor, "b t"]
    present: Bool[Tensor, " b"]
    inputs: Float[Tensor, "b t w"]


def masked_mean(values: Float[Tensor, "b t d"], valid: Bool[Tensor, "b t"]) -> Float[Tensor, "b d"]:
    """Mean over the valid frames; zeros for a sequence without any."""
    weights = valid.to(values.dtype)[..., None]
    if values.shape[1] == 1:  # the same numbers with a third of the operations
        return (values * weights)[:, 0]
    return (values * weights).sum(1) / weights.sum(1).clamp(min=1)


class Pooling(nn.Module):
    """Pools a sequence over its valid frames: mean, standard deviation, attention-weighted mean, or several of them."""

    def __init__(self, *, width: int, parts: Sequence[str]) -> None:
        super().__init__()
        self.parts = tuple(parts)
        self.width = width * len(self.parts)
        self.score = nn.Linear(width, 1) if "attention" in self.parts else None

    def forward(self, values: Float[Tensor, "b t w"], valid: Bool[Tensor, "b t"]) -> Float[Tensor, "b p"]:
        """Pool (b, t, w) to (b, w) per part, concatenated; zeros for a sequence without valid frames."""
        mean = masked_mean(values, valid)
        pooled = []
        for part in self.parts:
            if part == "mean":
                pooled.append(mean)
            elif part == "std" and values.shape[1] == 1:
                pooled.append(torch.full_like(mean, STD_OFFSET).sqrt())
            elif part == "std":
                variance = masked_mean((values - mean[:, None]).square(), valid)
                pooled.append((variance + STD_OFFSET).sqrt())
            else:
                assert self.score is not None
                scores = self.score(values).squeeze(-1).masked_fill(~valid, -1e4)
                weights = scores.softmax(1) * valid
                pooled.append((values * weights[..., None]).sum(1))
        return torch.cat(pooled, -1)


def limited(values: Tensor, deviations: float | None) -> Tensor:
    """Limit standardized features to plus or minus a number of deviations; None: no limit."""
    return values if deviations is None else values.clamp(-deviations, deviations)


class PooledInputs(nn.Module):
    """Pools the input features of a modality and standardizes the result with the training group's statistics.

    The means of a feature differ less between utterances than its frames do, so pooled features need statistics of
    their own. Values beyond `limit` deviations are set to the limit.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, *, width: int, parts: Sequence[str], limit: float | None) -> None:
        super().__init__()
        self.limit = limit
        self.pool = Pooling(width=width, parts=parts)
        self.register_buffer("mean", torch.zeros(self.pool.width))
        self.register_buffer("deviation", torch.ones(self.pool.width))

    def set_normalization(self, mean: Tensor, deviation: Tensor) -> None:
        """Set the training group's statistics, each (p,); a constant feature is not scaled."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.where(deviation > MIN_DEVIATION, 1.0))

    def forward(self, side: Projected) -> Float[Tensor, "b p"]:
        """Pool and standardize; zeros where the modality is missing."""
        pooled = self.pool(side.inputs, side.valid)
        return limited((pooled - self.mean) / self.deviation, self.limit) * side.present[:, None]


class Skip(nn.Module):
    """Paths from the pooled input features of all modalities to the class scores, past projections and attention.

    A linear path and, with `hidden` units, a perceptron with one hidden layer. Features are dropped before each, and
    hidden units before the output.

    Args:
        widths: width of the features by input.
        parts: parts of the pooled features, mean or standard deviation.
        outputs: number of classes and ratings.
        dropout: dropout of the pooled features.
        hidden: hidden units of the perceptron; 0: the linear path only.
        hidden_dropout: dropout of the hidden units.
        limit: maximum absolute value of a standardized feature.
    """

    def __init__(
        self,
        *,
        widths: Mapping[str, int],
        parts: Sequence[str],
        outputs: int,
        dropout: float,
        hidden: int = 0,
        hidden_dropout: float = 0.0,
        limit: float | None = None,
    ) -> None:
        super().__init__()
        self.inputs = nn.ModuleDict(
            {name: PooledInputs(width=width, parts=parts, limit=limit) for name, width in widths.items()}
        )
        self.dropout = Dropout(dropout)
        width = sum(widths.values()) * len(parts)
        self.linear = nn.Linear(width, outputs)
        self.perceptron: nn.Module | None = None
        if hidden:
            self.perceptron = nn.Sequential(
                nn.Linear(width, hidden), nn.GELU(), Dropout(hidden_dropout), nn.Linear(hidden, outputs)
            )

    def reset_to_zero(self) -> None:
        """Set the weights of the linear path to zero: a network starts as without it."""
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, projected: Mapping[str, Projected]) -> Float[Tensor, "b c"]:
        """Class scores of both paths."""
        pooled = torch.cat([pool(projected[name]) for name, pool in self.inputs.items()], -1)
        scores: Tensor = self.linear(self.dropout(pooled))
        return scores if self.perceptron is None else scores + self.perceptron(self.dropout(pooled))
