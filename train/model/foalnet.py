"""Foal-Net: projections, alignment, cross-attention, heads (Li et al. 2024, section 2), and its builder."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from ...shared.errors import TrainingError
from ..data.sequences import Frames
from ..data.streams import Pair
from .architecture import Architecture, build_projections, build_skip
from .dropout import Dropout
from .layers import CrossAttention, Projection, initialize_normal, sinusoidal_positions
from .pooling import Pooling, Projected, Skip, masked_mean
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


class Fused(NamedTuple):
    """Result of the fusion.

    Attributes:
        own: pooled sequence of each input of an utterance, (b, p), where p is the width of the pooled sequences.
        pairs: by direction (reader, read), pooled sequences of the reader with k partners, (k, b, p).
    """

    own: dict[str, Float[Tensor, "b p"]]
    pairs: dict[Pair, Float[Tensor, "k b p"]]


class FoalNet(nn.Module):
    """Foal-Net over two or more inputs; over one input self-attention without alignment and matching.

    With three or more inputs, each one reads every other one through a stack of its own, and the results are averaged.
    All dictionaries by input have the same keys in the same order.
    """

    def __init__(
        self,
        *,
        architecture: Architecture,
        projections: Mapping[str, Projection],
        stacks: Mapping[str, Mapping[str, Iterable[CrossAttention]]],
        classifier: nn.Linear,
        dropout: float,
        alignment: Alignment | None,
        match_heads: Mapping[str, Mapping[str, nn.Linear]],
        pools: Mapping[str, Pooling],
        skip: Skip | None,
        rating_scale: RatingScale | None = None,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.projections = nn.ModuleDict(projections)
        self.stacks = nn.ModuleDict(
            {
                reader: nn.ModuleDict({read: nn.ModuleList(stack) for read, stack in by_read.items()})
                for reader, by_read in stacks.items()
            }
        )
        self.dropout = Dropout(dropout)
        self.classifier = classifier
        self.alignment = alignment
        self.match_heads = nn.ModuleDict({reader: nn.ModuleDict(heads) for reader, heads in match_heads.items()})
        self.pools = nn.ModuleDict(pools)
        self.skip = skip
        self.rating_scale = rating_scale
        self.directions: tuple[Pair, ...] = tuple((reader, read) for reader in stacks for read in stacks[reader])

    def project(self, frames: Mapping[str, Frames]) -> dict[str, Projected]:
        """Project the frames of every input into the shared space."""
        return {name: projection(frames[name]) for name, projection in self.projections.items()}

    def fuse(
        self, projected: Mapping[str, Projected], partners: Mapping[Pair, Int[Tensor, "k b"]] | None = None
    ) -> Fused:
        """Cross-attend every row to k partners in each other input, then pool over time (section 2.2).

        Without attention layers the result does not depend on the partners; see `match`.

        Args:
            projected: sequences of the shared space by input, (b, t, d).
            partners: by direction, rows (k, b) of the input that is read, of which the first are each row's own (None:
                only these, k = 1).
        """
        own: dict[str, Tensor] = {}
        pairs: dict[Pair, Tensor] = {}
        for name in self.projections:
            reads = [read for reader, read in self.directions if reader == name]
            sequences = []
            for read in reads:
                rows = None if partners is None else partners[name, read]
                x = self._attend(name, read, projected, rows)
                pairs[name, read] = self._pool(name, x, projected[name].valid)
                if rows is not None:
                    pairs[name, read] = pairs[name, read].expand(len(rows), -1, -1)
                sequences.append(x[: len(projected[name].values)])
            if len(reads) == 1:
                own[name] = pairs[name, reads[0]][0]
            else:
                own[name] = self._pool(name, torch.stack(sequences).mean(0), projected[name].valid)[0]
        return Fused(own, pairs)

    def _attend(
        self, reader: str, read: str, projected: Mapping[str, Projected], partners: Int[Tensor, "k b"] | None
    ) -> Float[Tensor, "kb t d"]:
        """The sequences of one input after reading another one: (k b, t, d), or (b, t, d) without attention layers."""
        own, other = projected[reader], projected[read]
        x, keys = own.values, other.values
        rows = torch.arange(len(x), device=x.device) if partners is None else partners.flatten()
        if self.architecture.positions:
            x, keys = _with_positions(x), _with_positions(keys)
        for layer in self.stacks[reader][read]:  # type: ignore[index]  # a ModuleDict of ModuleLists
            x = layer(x, keys, other.valid, rows)
        return x

    def _pool(self, name: str, x: Float[Tensor, "kb t d"], valid: Bool[Tensor, "b t"]) -> Float[Tensor, "k b p"]:
        k = len(x) // len(valid)
        pooled: Tensor = self.pools[name](x, valid.repeat(k, 1)).view(k, len(valid), -1)
        return pooled

    def classify(
        self, pooled: Mapping[str, Float[Tensor, "b p"]], projected: Mapping[str, Projected]
    ) -> Float[Tensor, "b o"]:
        """Class logits, then ratings in the unit of the manifest, o = c + k; with `skip` from the pooled inputs too."""
        logits: Tensor = self.classifier(self.dropout(torch.cat([pooled[name] for name in self.projections], -1)))
        if self.skip is not None:
            logits = logits + self.skip(projected)
        return logits if self.rating_scale is None else self.rating_scale(logits)

    def match(self, fused: Fused, partners: Mapping[Pair, Int[Tensor, "k b"]]) -> dict[Pair, Float[Tensor, "k b 2"]]:
        """Logits of "different emotion" and "same emotion" by direction (MEM, section 2.3).

        Without attention layers a pair is represented by the product of its two pooled sequences.

        Args:
            fused: result of `fuse` for these partners.
            partners: rows of the input that is read, by direction.
        """
        logits = {}
        for reader, read in self.directions:
            pair = fused.pairs[reader, read]
            if not self.architecture.layers:
                pair = pair * fused.own[read][partners[reader, read]]
            logits[reader, read] = self.match_heads[reader][read](pair)  # type: ignore[index]
        return logits

    def forward(self, frames: Mapping[str, Frames]) -> Float[Tensor, "b o"]:
        """Class logits and ratings from frames, see `classify`."""
        projected = self.project(frames)
        return self.classify(self.fuse(projected).own, projected)


def _with_positions(x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
    return x + sinusoidal_positions(x.shape[1], x.shape[2], x.device)


def build_model(a: Architecture) -> FoalNet:
    """Build the network with newly initialized weights. Raises TrainingError if the heads do not divide the width."""
    if a.width % a.heads:
        raise TrainingError(
            f"expected a width that {a.heads} heads divide, got {a.width}; change train.width or train.heads"
        )
    names = list(a.frame_shapes)
    paired = len(names) > 1
    # A single input reads itself.
    read_by = {name: [other for other in names if other != name] or [name] for name in names}

    def stack() -> list[CrossAttention]:
        return [
            CrossAttention(width=a.width, heads=a.heads, dropout=a.dropout, feed_forward=a.feed_forward)
            for _ in range(a.layers)
        ]

    projections = build_projections(a)
    stacks = {name: {read: stack() for read in read_by[name]} for name in names}
    pools = {name: Pooling(width=a.width, parts=a.pool) for name in names}
    pooled_width = a.width * len(a.pool)
    classifier = nn.Linear(len(names) * pooled_width, a.classes + a.ratings)
    match_heads = {
        name: {read: nn.Linear(pooled_width, 2) for read in read_by[name]} for name in (names if paired else [])
    }
    # Raw features have no learned attention scores.
    parts = tuple(part for part in a.pool if part != "attention") or ("mean",)
    skip = build_skip(a, parts) if a.skip else None
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
        rating_scale=RatingScale(a.ratings) if a.ratings else None,
    )
    if a.initialization == "normal":
        model.apply(initialize_normal)
    if skip is not None:
        skip.reset_to_zero()
    return model
