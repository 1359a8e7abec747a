"""Ratings of dimensions: their loss, 1 - CCC, and the scale of a network's predictions."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class RatingScale(nn.Module):
    """Gives the last k outputs of a network the mean and the deviation of the training group's ratings.

    The outputs of a new network are near zero; without this, its first epochs would learn the scale of the ratings.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dimensions))
        self.register_buffer("deviation", torch.ones(dimensions))

    def fit(self, ratings: Float[Tensor, "m k"]) -> None:
        """Take the statistics of the ratings of a training group; NaN are left out."""
        for column, values in enumerate(ratings.double().T):
            rated = values[~values.isnan()]
            self.mean[column] = rated.mean()
            self.deviation[column] = rated.std(correction=0)

    def forward(self, outputs: Float[Tensor, "b o"]) -> Float[Tensor, "b o"]:
        """Scale the ratings among outputs (b, c + k); in float32, since half precision has too few digits."""
        classes = outputs.shape[1] - len(self.mean)
        ratings = outputs[:, classes:].float() * self.deviation + self.mean
        return torch.cat([outputs[:, :classes].float(), ratings], 1)


def ccc_loss(predicted: Float[Tensor, "b k"], ratings: Float[Tensor, "b k"]) -> Float[Tensor, ""]:
    """1 - CCC (Lin 1989) of a batch, the mean over its k dimensions; moments are over the rated utterances.

    A dimension contributes 0, with a gradient, if fewer than two utterances have a rating or all ratings are equal: CCC
    is not defined then.

    Args:
        predicted: predictions.
        ratings: ratings, NaN where there is none.
    """
    rated = ~ratings.isnan()
    truth, count = ratings.where(rated, 0.0), rated.sum(0).clamp(min=1)
    # Not by the variance: that of equal numbers may be above zero after rounding.
    highest, lowest = ratings.where(rated, -torch.inf).amax(0), ratings.where(rated, torch.inf).amin(0)
    usable = highest > lowest
    mean, true_mean = (predicted * rated).sum(0) / count, truth.sum(0) / count
    x, y = (predicted - mean) * rated, (truth - true_mean) * rated
    covariance = (x * y).sum(0) / count
    spread = (x.square().sum(0) + y.square().sum(0)) / count + (mean - true_mean).square()
    ccc = 2 * covariance / spread.where(usable, 1.0)
    return torch.where(usable, 1 - ccc, 0 * ccc).mean()
