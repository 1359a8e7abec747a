"""Tensor fusion: the outer product, and its limit."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from foal.shared.errors import TrainingError
from foal.train.model.architecture import Architecture
from foal.train.model.fusion.layers import utterance_vectors
from foal.train.model.fusion.registry import build_fusion
from foal.train.model.fusion.vectors.tfn import TfnFusion, outer_product
from foal.train.model.pooling import Projected

MakeStreams = Callable[..., dict[str, Projected]]
MakeArchitecture = Callable[..., Architecture]


def test_the_outer_product_has_the_terms_of_single_streams_and_of_pairs() -> None:
    x, y, z = torch.tensor([[2.0, 3.0]]), torch.tensor([[5.0]]), torch.tensor([[7.0]])
    assert outer_product([x, y]).tolist() == [[1, 5, 2, 10, 3, 15]]
    assert outer_product([x, y, z]).tolist() == [[1, 7, 5, 35, 2, 14, 10, 70, 3, 21, 15, 105]]


def test_the_outer_product_equals_einsum() -> None:
    torch.manual_seed(0)
    vectors = [torch.randn(4, width) for width in (3, 2, 5)]
    extended = [torch.cat([torch.ones(4, 1), vector], -1) for vector in vectors]
    expected = torch.einsum("bi,bj,bk->bijk", *extended).flatten(1)
    torch.testing.assert_close(outer_product(vectors), expected)


@pytest.mark.parametrize("names", [("audio", "face"), ("audio", "face", "text")])
def test_the_head_equals_its_formula(
    make_architecture: MakeArchitecture, make_streams: MakeStreams, names: tuple[str, ...]
) -> None:
    torch.manual_seed(0)
    head = build_fusion(make_architecture("tfn", names, reduced=3, hidden=5)).eval()
    assert isinstance(head, TfnFusion)
    streams = make_streams(names)
    tensor = torch.ones(6, 1)
    for name, mean in zip(names, utterance_vectors(list(streams.values())), strict=True):
        extended = torch.cat([torch.ones(6, 1), head.reduce[name](mean)], -1)
        tensor = torch.einsum("bi,bj->bij", tensor, extended).flatten(1)
    first, second = (layer for layer in head.layers if isinstance(layer, nn.Linear))
    assert first.in_features == 4 ** len(names)
    torch.testing.assert_close(head(streams).vector, second(first(tensor).relu()).relu())


def test_a_tensor_that_is_too_large_is_refused(make_architecture: MakeArchitecture) -> None:
    names = ("audio", "face", "text", "audio/wavlm")
    with pytest.raises(TrainingError, match=r"4 streams has a tensor of 1,185,921 numbers.*Lower.*reduced \(32\)"):
        build_fusion(make_architecture("tfn", names))
    assert build_fusion(make_architecture("tfn", names, reduced=4)).width == 128
