"""Low-rank fusion: a linear map of the tensor of tensor fusion."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from foal.train.model.architecture import Architecture
from foal.train.model.foalnet import build_model
from foal.train.model.fusion.layers import utterance_vectors
from foal.train.model.fusion.registry import build_fusion
from foal.train.model.fusion.vectors.lmf import LmfFusion
from foal.train.model.fusion.vectors.tfn import outer_product
from foal.train.model.pooling import Projected

MakeStreams = Callable[..., dict[str, Projected]]
MakeArchitecture = Callable[..., Architecture]


def full_map(head: LmfFusion, rank: int) -> Tensor:
    """The matrix that `head` applies to the flattened tensor, (width, n): a sum of `rank` outer products."""
    total = None
    for r in range(rank):
        product = torch.ones(head.width, 1)
        for factor in head.factors.values():
            weight, bias = (part.unflatten(0, (rank, -1))[r] for part in (factor.weight, factor.bias))  # type: ignore[operator, union-attr]
            extended = torch.cat([1 + bias[:, None], weight], 1)
            product = (product[:, :, None] * extended[:, None]).flatten(1)
        total = product if total is None else total + product
    assert total is not None
    return total / rank


@pytest.mark.parametrize("names", [("audio", "face"), ("audio", "face", "text")])
@pytest.mark.parametrize("rank", [1, 3])
def test_the_head_is_a_linear_map_of_the_tensor(
    make_architecture: MakeArchitecture, make_streams: MakeStreams, names: tuple[str, ...], rank: int
) -> None:
    torch.manual_seed(0)
    head = build_fusion(make_architecture("lmf", names, rank=rank)).eval()
    assert isinstance(head, LmfFusion)
    torch.nn.init.normal_(head.bias)
    streams = make_streams(names)
    tensor = outer_product([F.layer_norm(mean, (16,)) for mean in utterance_vectors(list(streams.values()))])
    expected = tensor @ full_map(head, rank).T + head.bias
    torch.testing.assert_close(head(streams).vector, expected, atol=1e-5, rtol=1e-5)


def test_the_scale_of_a_stream_does_not_change_the_vector(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    head = build_fusion(make_architecture("lmf")).eval()
    streams = make_streams()
    scaled = {**streams, "face": streams["face"]._replace(values=100 * streams["face"].values)}
    torch.testing.assert_close(head(scaled).vector, head(streams).vector, atol=1e-3, rtol=1e-3)


def test_single_streams_reach_the_vector_with_weights_near_zero(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    # With normal initialization the weights are small and biases zero: a plain product would begin near zero.
    torch.manual_seed(0)
    head = build_model(replace(make_architecture("lmf"), initialization="normal")).head.eval()
    assert isinstance(head, LmfFusion)
    streams = make_streams()
    vectors = [F.layer_norm(mean, (16,)) for mean in utterance_vectors(list(streams.values()))]
    with torch.no_grad():
        terms = [head.factors[name](vector) for name, vector in zip(streams, vectors, strict=True)]
        deviation = head(streams).vector.std(0).mean()
        single = (terms[0] + terms[1]).unflatten(1, (4, -1)).mean(1).std(0).mean()
    assert deviation == pytest.approx(single.item(), rel=0.2)
