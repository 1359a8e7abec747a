"""The network: projection, alignment, cross-attention, heads (Li et al. 2024, section 2), and its one builder."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from ...shared.errors import TrainingError
from ..data.sequences import Frames
from .layers import CrossAttention, Projected, Projection, masked_mean

INITIAL_LOG_SCALE = math.log(1 / 0.07)
MAX_LOG_SCALE = math.log(100.0)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Every number the network is built from; `frame_shapes` is ([layers,] width) per modality, audio before face."""

    frame_shapes: Mapping[str, tuple[int, ...]]
    classes: int
    width: int
    heads: int
    layers: int
    dropout: float
    projection_dropout: float
    divided: bool = False


class Alignment(nn.Module):
    """Scaled cosines between the audio and the face of every two utterances (AVEL, section 2.1; CLIP's log scale).

    `divided` as in the authors' code: the logarithm itself is the temperature, and cosines are divided by it.
    """

    def __init__(self, *, divided: bool = False) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(INITIAL_LOG_SCALE))
        self.divided = divided

    def embed(self, side: Projected) -> Float[Tensor, "b d"]:
        """The mean of a projected sequence, brought to unit length."""
        return F.normalize(masked_mean(side.values, side.valid), dim=-1)

    def forward(self, audio: Projected, face: Projected) -> Float[Tensor, "b b"]:
        """Row = audio, column = face."""
        cosines = (self.embed(audio) @ self.embed(face).T).float()
        return cosines / self.log_scale if self.divided else self.log_scale.exp() * cosines

    @torch.no_grad()
    def limit_scale(self) -> None:
        """Hold the scale at 100 or less; after a step, since a clamp on the way forward would have no gradient."""
        self.log_scale.clamp_(max=MAX_LOG_SCALE)


class FoalNet(nn.Module):
    """Foal-Net over two modalities; over one, the same stack reading its own sequence, without alignment and matching.

    A dictionary over modalities has the same keys, in the same order, everywhere here.
    """

    def __init__(
        self,
        *,
        architecture: Architecture,
        projections: Mapping[str, Projection],
        stacks: Mapping[str, Iterable[CrossAttention]],
        classifier: nn.Linear,
        dropout: float,
        alignment: Alignment | None,
        matchers: Mapping[str, nn.Linear],
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.projections = nn.ModuleDict(projections)
        self.stacks = nn.ModuleDict({name: nn.ModuleList(stack) for name, stack in stacks.items()})
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier
        self.alignment = alignment
        self.matchers = nn.ModuleDict(matchers)
        names = list(projections)
        self.reads = dict(zip(names, reversed(names), strict=True))  # audio reads face and face audio, or each itself

    def project(self, frames: Mapping[str, Frames]) -> dict[str, Projected]:
        """Frames of every modality into the shared space."""
        return {name: projection(frames[name]) for name, projection in self.projections.items()}

    def fuse(
        self, projected: Mapping[str, Projected], partners: Mapping[str, Int[Tensor, "k b"]] | None = None
    ) -> dict[str, Float[Tensor, "k b d"]]:
        """Let every row read k partners in the other modality, then average over time; by modality.

        partners[name] holds rows of the modality that `name` reads; by default each row's own, k = 1.
        """
        pooled = {}
        for name, stack in self.stacks.items():
            own, other = projected[name], projected[self.reads[name]]
            b = len(own.values)
            rows = torch.arange(b, device=own.values.device)[None] if partners is None else partners[name]
            x = own.values  # (b, t, d), and (k b, t, d) once partners tell its rows apart
            for layer in stack:  # type: ignore[attr-defined]  # a ModuleList
                x = layer(x, other.values, other.valid, rows.flatten())
            pooled[name] = masked_mean(x, own.valid.repeat(len(rows), 1)).view(len(rows), b, -1)
        return pooled

    def classify(self, pooled: Mapping[str, Float[Tensor, "b d"]]) -> Float[Tensor, "b c"]:
        """Logits."""
        logits: Tensor = self.classifier(self.dropout(torch.cat([pooled[name] for name in self.stacks], -1)))
        return logits

    def match(self, pooled: Mapping[str, Float[Tensor, "k b d"]]) -> dict[str, Float[Tensor, "k b 2"]]:
        """By modality, "is it the same emotion?" as logits (MEM, section 2.3)."""
        return {name: head(pooled[name]) for name, head in self.matchers.items()}

    def forward(self, frames: Mapping[str, Frames]) -> Float[Tensor, "b c"]:
        """Logits."""
        return self.classify({name: u[0] for name, u in self.fuse(self.project(frames)).items()})


def build(a: Architecture) -> FoalNet:
    """The network with fresh weights. Raises TrainingError if the heads do not divide the width."""
    if a.width % a.heads:
        raise TrainingError(
            f"expected a width that {a.heads} heads divide, got {a.width}; change train.width or train.heads"
        )
    names = list(a.frame_shapes)
    paired = len(names) == 2

    def stack() -> list[CrossAttention]:
        return [CrossAttention(width=a.width, heads=a.heads, dropout=a.dropout) for _ in range(a.layers)]

    return FoalNet(
        architecture=a,
        projections={
            name: Projection(frame_shape=shape, width=a.width, dropout=a.projection_dropout)
            for name, shape in a.frame_shapes.items()
        },
        stacks={name: stack() for name in names},
        classifier=nn.Linear(len(names) * a.width, a.classes),
        dropout=a.dropout,
        alignment=Alignment(divided=a.divided) if paired else None,
        matchers={name: nn.Linear(a.width, 2) for name in names} if paired else {},
    )
