"""The hyperparameters of a network, and the parts that all networks share: projections and paths around them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .layers import Projection
from .pooling import Skip


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """All hyperparameters of the network.

    Attributes:
        frame_shapes: shape of one frame, ([layers,] width), by input: audio, face, text, or streams of them.
        classes: number of classes, c; 0 for a network that predicts ratings only.
        width: width of the shared space, d.
        heads: attention heads.
        layers: cross-attention layers of each pair; 0: the projected sequences are pooled as they are.
        feed_forward, positions: feed-forward layers after the attention, sinusoidal positions before it.
        pool: pooling over time before the classifier.
        skip: a linear path from the pooled input features to the class scores.
        skip_hidden: hidden units of a perceptron beside the linear path; 0: none.
        dropout: dropout in attention and before the classifier.
        projection_dropout: dropout in the projections, and of the perceptron's hidden units.
        input_limit: maximum absolute value of a standardized feature.
        input_dropout: dropout of input features.
        frame_dropout: share of frames dropped in training.
        initialization: initial weights of linear layers: uniform, or normal with deviation 0.02 and zero biases.
        cosine_over_temperature: temperature of the alignment as in the reference code.
        fusion, fusion_options: the fusion system and its options.
        context: the turns that a head over dialogs reads (past, both or none).
        ratings: number of rated dimensions, k.
    """

    frame_shapes: Mapping[str, tuple[int, ...]]
    classes: int
    width: int
    heads: int
    layers: int
    dropout: float
    projection_dropout: float
    input_limit: float | None = None
    input_dropout: float = 0.0
    frame_dropout: float = 0.0
    feed_forward: bool = False
    positions: bool = False
    pool: tuple[str, ...] = ("mean",)
    skip: bool = False
    skip_hidden: int = 0
    initialization: str = "uniform"
    cosine_over_temperature: bool = False
    fusion: str = "cross-attention"
    fusion_options: Mapping[str, Any] = field(default_factory=dict)
    context: str = "past"
    ratings: int = 0


def build_projections(a: Architecture) -> dict[str, Projection]:
    """A new projection for every input."""
    return {
        name: Projection(
            frame_shape=shape,
            width=a.width,
            dropout=a.projection_dropout,
            input_limit=a.input_limit,
            input_dropout=a.input_dropout,
            frame_dropout=a.frame_dropout,
        )
        for name, shape in a.frame_shapes.items()
    }


def build_skip(a: Architecture, parts: Sequence[str]) -> Skip:
    """New paths from the pooled input features to the class scores; `parts` of the features: mean, std."""
    return Skip(
        widths={name: shape[-1] for name, shape in a.frame_shapes.items()},
        parts=parts,
        outputs=a.classes + a.ratings,
        dropout=a.input_dropout,
        hidden=a.skip_hidden,
        hidden_dropout=a.projection_dropout,
        limit=a.input_limit,
    )
