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
from .dropout import Dropout
from .layers import CrossAttention, Projection, sinusoidal_positions
from .pooling import Pooling, Projected, Skip, masked_mean

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
        layers: cross-attention layers of each modality; 0: the projected sequences are pooled as they are.
        feed_forward: a feed-forward layer after each attention.
        positions: sinusoidal positions before the attention.
        pool: pooling over time before the classifier.
        skip: a linear path from the pooled input features to the class scores.
        dropout: dropout in attention and before the classifier.
        projection_dropout: dropout in the projections.
        input_dropout: dropout of input features.
        frame_dropout: share of frames dropped in training.
        initialization: initial weights of linear layers: uniform, or normal with deviation 0.02 and zero biases.
        cosine_over_temperature: temperature of the alignment as in the reference code.
    """

    frame_shapes: Mapping[str, tuple[int, ...]]
    classes: int
    width: int
    heads: int
    layers: int
    dropout: float
    projection_dropout: float
    input_dropout: float = 0.0
    frame_dropout: float = 0.0
    feed_forward: bool = False
    positions: bool = False
    pool: tuple[str, ...] = ("mean",)
    skip: bool = False
    initialization: str = "uniform"
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
        """Limit the scale to 100; called after a step, since a clamp in the forward pass would have no gradient.

        The divisor of the reference code has no limit.
        """
        if self.cosine_over_temperature:
            return
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
        pools: Mapping[str, Pooling],
        skip: Skip | None,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.projections = nn.ModuleDict(projections)
        self.stacks = nn.ModuleDict({name: nn.ModuleList(stack) for name, stack in stacks.items()})
        self.dropout = Dropout(dropout)
        self.classifier = classifier
        self.alignment = alignment
        self.match_heads = nn.ModuleDict(match_heads)
        self.pools = nn.ModuleDict(pools)
        self.skip = skip
        names = list(projections)
        # Audio attends to face and face to audio; a single modality to itself.
        self.cross_attends_to = dict(zip(names, reversed(names), strict=True))

    def project(self, frames: Mapping[str, Frames]) -> dict[str, Projected]:
        """Project the frames of every modality into the shared space."""
        return {name: projection(frames[name]) for name, projection in self.projections.items()}

    def fuse(
        self, projected: Mapping[str, Projected], partners: Mapping[str, Int[Tensor, "k b"]] | None = None
    ) -> dict[str, Float[Tensor, "k b p"]]:
        """Cross-attend every row to k partners in the other modality, then pool over time (section 2.2).

        Without attention layers the result does not depend on the partners; see `match`.

        Args:
            projected: sequences of the shared space by modality, (b, t, d).
            partners: by modality, rows (k, b) of the modality that it attends to (None: each row's own, k = 1).

        Returns:
            By modality, (k, b, p), where p is the width of the pooled sequences.
        """
        pooled = {}
        for name, stack in self.stacks.items():
            own, other = projected[name], projected[self.cross_attends_to[name]]
            b = len(own.values)
            rows = torch.arange(b, device=own.values.device)[None] if partners is None else partners[name]
            x, keys = own.values, other.values
            if self.architecture.positions:
                x, keys = _with_positions(x), _with_positions(keys)
            # (b, t, d); (k b, t, d) after the first layer
            for layer in stack:  # type: ignore[attr-defined]  # a ModuleList
                x = layer(x, keys, other.valid, rows.flatten())
            pooled[name] = self.pools[name](x, own.valid.repeat(len(x) // b, 1)).view(len(x) // b, b, -1)
            pooled[name] = pooled[name].expand(len(rows), -1, -1)
        return pooled

    def classify(
        self, pooled: Mapping[str, Float[Tensor, "b p"]], projected: Mapping[str, Projected]
    ) -> Float[Tensor, "b c"]:
        """Class logits from the fused, pooled sequences, and with `skip` from the pooled inputs, of all modalities."""
        logits: Tensor = self.classifier(self.dropout(torch.cat([pooled[name] for name in self.stacks], -1)))
        if self.skip is not None:
            logits = logits + self.skip(projected)
        return logits

    def match(
        self, pooled: Mapping[str, Float[Tensor, "k b p"]], partners: Mapping[str, Int[Tensor, "k b"]]
    ) -> dict[str, Float[Tensor, "k b 2"]]:
        """Logits of "different emotion" and "same emotion" by modality (MEM, section 2.3).

        Without attention layers a pair is represented by the product of its two pooled sequences.

        Args:
            pooled: result of `fuse` for these partners.
            partners: rows of the other modality, by modality.
        """
        if self.architecture.layers:
            return {name: head(pooled[name]) for name, head in self.match_heads.items()}
        products = {name: u * pooled[self.cross_attends_to[name]][0][partners[name]] for name, u in pooled.items()}
        return {name: head(products[name]) for name, head in self.match_heads.items()}

    def forward(self, frames: Mapping[str, Frames]) -> Float[Tensor, "b c"]:
        """Class logits from frames."""
        projected = self.project(frames)
        return self.classify({name: u[0] for name, u in self.fuse(projected).items()}, projected)


def _with_positions(x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
    return x + sinusoidal_positions(x.shape[1], x.shape[2], x.device)


def build_model(a: Architecture) -> FoalNet:
    """Build the network with newly initialized weights. Raises TrainingError if the heads do not divide the width."""
    if a.width % a.heads:
        raise TrainingError(
            f"expected a width that {a.heads} heads divide, got {a.width}; change train.width or train.heads"
        )
    names = list(a.frame_shapes)
    paired = len(names) == 2

    def stack() -> list[CrossAttention]:
        return [
            CrossAttention(width=a.width, heads=a.heads, dropout=a.dropout, feed_forward=a.feed_forward)
            for _ in range(a.layers)
        ]

    projections = {
        name: Projection(
            frame_shape=shape,
            width=a.width,
            dropout=a.projection_dropout,
            input_dropout=a.input_dropout,
            frame_dropout=a.frame_dropout,
        )
        for name, shape in a.frame_shapes.items()
    }
    stacks = {name: stack() for name in names}
    pools = {name: Pooling(width=a.width, parts=a.pool) for name in names}
    pooled_width = a.width * len(a.pool)
    classifier = nn.Linear(len(names) * pooled_width, a.classes)
    match_heads = {name: nn.Linear(pooled_width, 2) for name in names} if paired else {}
    skip = None
    if a.skip:
        # Raw features have no learned attention scores.
        parts = tuple(part for part in a.pool if part != "attention") or ("mean",)
        widths = {name: shape[-1] for name, shape in a.frame_shapes.items()}
        skip = Skip(widths=widths, parts=parts, classes=a.classes, dropout=a.input_dropout)
    model = FoalNet(
        architecture=a,
        projections=projections,
        stacks=stacks,
        classifier=classifier,
        dropout=a.dropout,
        alignment=Alignment(cosine_over_temperature=a.cosine_over_temperature) if paired else None,
        match_heads=match_heads,
        pools=pools,
        skip=skip,
    )
    if a.initialization == "normal":
        model.apply(_initialize_normal)
    if skip is not None:
        # The network starts as without it.
        nn.init.zeros_(skip.linear.weight)
        nn.init.zeros_(skip.linear.bias)
    return model


def _initialize_normal(module: nn.Module) -> None:
    """Draw the weights of a linear layer as Transformers' encoders do, which the reference code extends."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
