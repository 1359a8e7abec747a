"""The network over utterances: projections, alignment, fusion head, classifier (Li et al. 2024), and its builder."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from ...shared.errors import TrainingError
from ..data.sequences import Frames
from ..data.streams import Pair
from .architecture import Architecture, build_projections, build_skip
from .dropout import Dropout
from .fusion.base import Fused, FusedPairs, FusionHead
from .fusion.registry import build_fusion
from .layers import Projection, initialize_normal
from .pooling import Projected, Skip, masked_mean
from .ratings import RatingScale

INITIAL_LOG_SCALE = math.log(1 / 0.07)
MAX_LOG_SCALE = math.log(100.0)


class Alignment(nn.Module):
    """Scaled cosine similarities between two inputs of all pairs of utterances (AVEL, section 2.1).

    All pairs of inputs share the scale. It is learned as its logarithm, as in CLIP. With `cosine_over_temperature`, as
    in the reference code, the logarithm itself is the temperature, by which the cosines are divided.
    """

    def __init__(self, *, cosine_over_temperature: bool = False) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(INITIAL_LOG_SCALE))
        self.cosine_over_temperature = cosine_over_temperature

    def embed(self, side: Projected) -> Float[Tensor, "b d"]:
        """The mean over time of a projected sequence, scaled to unit length."""
        return F.normalize(masked_mean(side.values, side.valid), dim=-1)

    def forward(self, first: Projected, second: Projected) -> Float[Tensor, "b b"]:
        """Similarities of all pairs: row = first input, column = second input."""
        cosines = (self.embed(first) @ self.embed(second).T).float()
        return cosines / self.log_scale if self.cosine_over_temperature else self.log_scale.exp() * cosines

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Limit the scale to 100; called after a step, since a clamp in the forward pass would have no gradient.

        The divisor of the reference code has no limit.
        """
        if self.cosine_over_temperature:
            return
        self.log_scale.clamp_(max=MAX_LOG_SCALE)


class FoalNet(nn.Module):
    """Projections, alignment, a fusion head, classifier: with the head cross-attention it is Foal-Net.

    Over one input there is no alignment and no matching. All dictionaries by input have the same keys, in one order.
    """

    def __init__(
        self,
        *,
        architecture: Architecture,
        projections: Mapping[str, Projection],
        head: FusionHead,
        classifier: nn.Linear,
        dropout: float,
        alignment: Alignment | None,
        matcher: nn.Module | None,
        skip: Skip | None,
        rating_scale: RatingScale | None = None,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.projections = nn.ModuleDict(projections)
        self.head = head
        self.dropout = Dropout(dropout)
        self.classifier = classifier
        self.alignment = alignment
        self.matcher = matcher
        self.skip = skip
        self.rating_scale = rating_scale

    def project(self, frames: Mapping[str, Frames]) -> dict[str, Projected]:
        """Project the frames of every input into the shared space, (b, t, d)."""
        return {name: projection(frames[name]) for name, projection in self.projections.items()}

    def classify(self, fused: Fused, projected: Mapping[str, Projected]) -> Float[Tensor, "b o"]:
        """Class logits, then ratings in the unit of the manifest, o = c + k; with `skip` from the pooled inputs too."""
        logits: Tensor = self.classifier(self.dropout(fused.vector))
        if self.skip is not None:
            logits = logits + self.skip(projected)
        return logits if self.rating_scale is None else self.rating_scale(logits)

    def match(self, pairs: FusedPairs) -> dict[Pair, Float[Tensor, "k b 2"]]:
        """Logits of "different emotion" and "same emotion" by direction (MEM, section 2.3)."""
        assert self.matcher is not None
        logits: dict[Pair, Tensor] = self.matcher(pairs.pairs)
        return logits

    def forward(self, frames: Mapping[str, Frames]) -> Float[Tensor, "b o"]:
        """Class logits and ratings from frames, see `classify`."""
        projected = self.project(frames)
        return self.classify(self.head(projected), projected)


def build_model(a: Architecture) -> FoalNet:
    """Build the network with newly initialized weights. Raises TrainingError if the heads do not divide the width."""
    if a.width % a.heads:
        raise TrainingError(
            f"expected a width that {a.heads} heads divide, got {a.width}; change train.width or train.heads"
        )
    paired = len(a.frame_shapes) > 1
    projections = build_projections(a)
    head = build_fusion(a)
    classifier = nn.Linear(head.width, a.classes + a.ratings)
    matcher = head.build_matcher() if paired else None
    # Raw features have no learned attention scores.
    parts = tuple(part for part in a.pool if part != "attention") or ("mean",)
    skip = build_skip(a, parts) if a.skip else None
    model = FoalNet(
        architecture=a,
        projections=projections,
        head=head,
        classifier=classifier,
        dropout=a.dropout,
        alignment=Alignment(cosine_over_temperature=a.cosine_over_temperature) if paired else None,
        matcher=matcher,
        skip=skip,
        rating_scale=RatingScale(a.ratings) if a.ratings else None,
    )
    if a.initialization == "normal":
        model.apply(initialize_normal)
    if skip is not None:
        skip.reset_to_zero()
    return model
