"""Foal-Net: projections, alignment, cross-attention, heads (Li et al. 2024, section 2), and its builder."""

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
    """All hyperparameters of the network.

    Attributes:
        frame_shapes: shape of one frame, ([layers,] width), by modality, audio before face.
        classes: number of classes, c.
        width: width of the shared space, d.
        heads: attention heads.
        layers: cross-attention layers of each modality.
        dropout: dropout in attention and before the classifier.
        projection_dropout: dropout in the projections.
        cosine_over_temperature: temperature of the alignment as in the reference code.
    """

    frame_shapes: Mapping[str, tuple[int, ...]]
    classes: int
    width: int
    heads: int
    layers: int
    dropout: float
    projection_dropout: float
    cosine_over_temperature: bool = False


class Alignment(nn.Module):
    """Scaled cosine similarities between the audio and the face of all pairs of utterances (AVEL, section 2.1).

    The scale is learned as its logarithm, as in CLIP. With `cosine_over_temperature`, as in the reference code, the
    logarithm itself is the temperature, by which the cosines are divided.
    """

    def __init__(self, *, cosine_over_temperature: bool = False) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(INITIAL_LOG_SCALE))
        self.cosine_over_temperature = cosine_over_temperature

    def embed(self, side: Projected) -> Float[Tensor, "b d"]:
        """The mean over time of a projected sequence, scaled to unit length."""
        return F.normalize(masked_mean(side.values, side.valid), dim=-1)

    def forward(self, audio: Projected, face: Projected) -> Float[Tensor, "b b"]:
        """Similarities of all pairs: row = audio, column = face."""
        cosines = (self.embed(audio) @ self.embed(face).T).float()
        return cosines / self.log_scale if self.cosine_over_temperature else self.log_scale.exp() * cosines

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Limit the scale to 100; called after a step, since a clamp in the forward pass would have no gradient."""
        self.log_scale.clamp_(max=MAX_LOG_SCALE)


class FoalNet(nn.Module):
    """Foal-Net over two modalities; over one modality self-attention without alignment and matching.

    All dictionaries by modality have the same keys in the same order.
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
        match_heads: Mapping[str, nn.Linear],
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.projections = nn.ModuleDict(projections)
        self.stacks = nn.ModuleDict({name: nn.ModuleList(stack) for name, stack in stacks.items()})
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier
        self.alignment = alignment
        self.match_heads = nn.ModuleDict(match_heads)
        names = list(projections)
        # Audio attends to face and face to audio; a single modality to itself.
        self.cross_attends_to = dict(zip(names, reversed(names), strict=True))

    def project(self, frames: Mapping[str, Frames]) -> dict[str, Projected]:
        """Project the frames of every modality into the shared space."""
        return {name: projection(frames[name]) for name, projection in self.projections.items()}

    def fuse(
        self, projected: Mapping[str, Projected], partners: Mapping[str, Int[Tensor, "k b"]] | None = None
    ) -> dict[str, Float[Tensor, "k b d"]]:
        """Cross-attend every row to k partners in the other modality, then average over time (section 2.2).

        Args:
            projected: sequences of the shared space by modality, (b, t, d).
            partners: by modality, rows (k, b) of the modality that it attends to (None: each row's own, k = 1).

        Returns:
            By modality, (k, b, d).
        """
        pooled = {}
        for name, stack in self.stacks.items():
            own, other = projected[name], projected[self.cross_attends_to[name]]
            b = len(own.values)
            rows = torch.arange(b, device=own.values.device)[None] if partners is None else partners[name]
            x = own.values  # (b, t, d); (k b, t, d) after the first layer
            for layer in stack:  # type: ignore[attr-defined]  # a ModuleList
                x = layer(x, other.values, other.valid, rows.flatten())
            pooled[name] = masked_mean(x, own.valid.repeat(len(rows), 1)).view(len(rows), b, -1)
        return pooled

    def classify(self, pooled: Mapping[str, Float[Tensor, "b d"]]) -> Float[Tensor, "b c"]:
        """Class logits from the pooled sequences of all modalities."""
        logits: Tensor = self.classifier(self.dropout(torch.cat([pooled[name] for name in self.stacks], -1)))
        return logits

    def match(self, pooled: Mapping[str, Float[Tensor, "k b d"]]) -> dict[str, Float[Tensor, "k b 2"]]:
        """Logits of "different emotion" and "same emotion" by modality (MEM, section 2.3)."""
        return {name: head(pooled[name]) for name, head in self.match_heads.items()}

    def forward(self, frames: Mapping[str, Frames]) -> Float[Tensor, "b c"]:
        """Class logits from frames."""
        return self.classify({name: u[0] for name, u in self.fuse(self.project(frames)).items()})


def build_model(a: Architecture) -> FoalNet:
    """Build the network with newly initialized weights. Raises TrainingError if the heads do not divide the width."""
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
        alignment=Alignment(cosine_over_temperature=a.cosine_over_temperature) if paired else None,
        match_heads={name: nn.Linear(a.width, 2) for name in names} if paired else {},
    )
