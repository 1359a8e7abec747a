"""Weights over the streams."""

from collections.abc import Callable

import pytest
import torch

from foal.train.model.architecture import Architecture
from foal.train.model.fusion.layers import utterance_vectors
from foal.train.model.fusion.registry import build_fusion
from foal.train.model.fusion.vectors.attention import AttentionFusion
from foal.train.model.pooling import Projected

MakeStreams = Callable[..., dict[str, Projected]]
MakeArchitecture = Callable[..., Architecture]
NAMES = ("audio", "face", "text")


def make_head(make_architecture: MakeArchitecture, **options: object) -> AttentionFusion:
    torch.manual_seed(0)
    head = build_fusion(make_architecture("attention", NAMES, **options)).eval()
    assert isinstance(head, AttentionFusion)
    return head


@pytest.mark.parametrize("softmax", [False, True])
def test_the_vector_is_the_weighted_sum_of_the_means(
    make_architecture: MakeArchitecture, make_streams: MakeStreams, softmax: bool
) -> None:
    head, streams = make_head(make_architecture, softmax=softmax), make_streams(NAMES, garbage=9.0)
    vectors = utterance_vectors(list(streams.values()))
    weights = head.weigh(vectors)
    expected = sum(weights[:, i, None] * vector for i, vector in enumerate(vectors))
    torch.testing.assert_close(head(streams).vector, expected)
    assert weights.shape == (6, 3)
    assert head.width == 16


def test_weights_sum_to_one_with_softmax_only(make_architecture: MakeArchitecture, make_streams: MakeStreams) -> None:
    vectors = utterance_vectors(list(make_streams(NAMES).values()))
    weights = make_head(make_architecture, softmax=True).weigh(vectors)
    torch.testing.assert_close(weights.sum(-1), torch.ones(6))
    assert (weights > 0).all()
    unbounded = make_head(make_architecture, softmax=False).weigh(vectors)
    torch.testing.assert_close(unbounded.softmax(-1), weights)
    assert (unbounded < 0).any()


def test_equal_scores_give_the_mean_of_the_streams(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    head, streams = make_head(make_architecture, softmax=True), make_streams(NAMES)
    with torch.no_grad():
        head.scores[-1].weight.zero_()  # type: ignore[operator, union-attr]
        head.scores[-1].bias.zero_()  # type: ignore[operator, union-attr]
    expected = torch.stack(utterance_vectors(list(streams.values()))).mean(0)
    torch.testing.assert_close(head(streams).vector, expected)


def test_the_number_of_hidden_units_is_an_option(make_architecture: MakeArchitecture) -> None:
    head = make_head(make_architecture, hidden=7)
    assert sum(p.numel() for p in head.parameters()) == (3 * 16 + 1) * 7 + (7 + 1) * 3
