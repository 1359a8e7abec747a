"""Mutual information between the streams, and between them and their fusion (MMIM, Han et al. 2021)."""

from itertools import permutations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .....shared.config.fusion_settings import MmimSettings
from ...architecture import Architecture
from ...dropout import Dropout
from ..base import Fused, FusionHead, Streams, Supervision
from ..layers import paired_contrastive, utterance_vectors

MAX_LOG_VARIANCE = 6.0
"""Limit of the logarithm of a variance, both ways: a dimension that is predicted exactly has no finite likelihood."""


class MmimFusion(FusionHead):
    """z = tanh MLP([mean of each stream]), with two losses on the information that the vectors have in common.

    Mutual: a Gaussian with mean and variance from one stream gives the density of another one, in every direction; the
    log-likelihood is a bound on their mutual information but for the entropy of the stream that is predicted. The
    entropy is left out, so this stream is detached: it would raise the likelihood by becoming constant.

    Contrastive: a linear map of z finds the row's own vector of each stream among those of the batch.

    Rows that lack a modality are left out of its terms. `parts` are the means of m streams, (b, m, d): `vectors`.
    """

    def __init__(self, a: Architecture, options: MmimSettings) -> None:
        super().__init__()
        m, d = len(a.frame_shapes), a.width
        self.options = options
        self.fuse = nn.Sequential(nn.Linear(m * d, d), nn.Tanh(), Dropout(a.dropout), nn.Linear(d, d), nn.Tanh())
        self.directions = tuple(permutations(range(m), 2))
        self.densities = nn.ModuleList(nn.Linear(d, 2 * d) for _ in self.directions)
        self.predictors = nn.ModuleList(nn.Linear(d, d) for _ in range(m))
        self.width = d

    def forward(self, streams: Streams) -> Fused:
        """See FusionHead."""
        vectors = utterance_vectors(list(streams.values()))
        return Fused(self.fuse(torch.cat(vectors, -1)), {"vectors": torch.stack(vectors, 1)})

    def extra_losses(self, fused: Fused, streams: Streams, supervision: Supervision) -> dict[str, Float[Tensor, ""]]:
        """Negative log-likelihood, summed over all ordered pairs of streams, and InfoNCE, summed over the streams."""
        vectors = fused.parts["vectors"].float().unbind(1)
        present = [side.present for side in streams.values()]
        likelihoods = []
        for (i, j), density in zip(self.directions, self.densities, strict=True):
            mean, log_variance = density(vectors[i]).float().chunk(2, -1)
            likelihoods.append(log_likelihood(vectors[j].detach(), mean, log_variance, present[i] & present[j]))
        contrastive = [
            paired_contrastive(
                predict(fused.vector)[rows], vector[rows], supervision.rows[rows], self.options.temperature
            )
            for predict, vector, rows in zip(self.predictors, vectors, present, strict=True)
        ]
        return {
            "mutual": -self.options.mutual * torch.stack(likelihoods).sum(),
            "contrastive": self.options.contrastive * torch.stack(contrastive).sum(),
        }


def log_likelihood(
    y: Float[Tensor, "b d"],
    mean: Float[Tensor, "b d"],
    log_variance: Float[Tensor, "b d"],
    counted: Bool[Tensor, " b"],
) -> Float[Tensor, ""]:
    """Gaussian log-likelihood without its constant, mean over the counted rows and the dimensions; 0 without such rows.

    The logarithm of the variance is limited to plus or minus 6.
    """
    limited = log_variance.clamp(-MAX_LOG_VARIANCE, MAX_LOG_VARIANCE)
    by_row = -0.5 * ((y - mean).square() * (-limited).exp() + limited).mean(-1)
    return (by_row * counted).sum() / counted.sum().clamp(min=1)
