"""What all heads on a time grid promise: vectors beside sequences, gaps, half precision, any number of streams."""

from collections.abc import Callable

import pytest
import torch

from foal.shared.config.fusion_settings import FUSIONS
from foal.train.model.architecture import Architecture
from foal.train.model.fusion.base import FusionHead
from foal.train.model.fusion.registry import FUSION_HEADS, build_fusion
from foal.train.model.pooling import Projected

MakeStreams = Callable[..., dict[str, Projected]]
MakeArchitecture = Callable[..., Architecture]

heads = pytest.mark.parametrize("fusion", [name for name in FUSION_HEADS if FUSIONS[name].needs.grid])


@pytest.fixture
def make_head(make_architecture: MakeArchitecture) -> Callable[..., FusionHead]:
    def make(fusion: str, names: tuple[str, ...] = ("audio", "face")) -> FusionHead:
        torch.manual_seed(0)
        return build_fusion(make_architecture(fusion, names)).eval()

    return make


@heads
def test_heads_that_need_a_grid_read_one(fusion: str, make_head: Callable[..., FusionHead]) -> None:
    assert make_head(fusion).on_grid


@heads
def test_a_vector_counts_as_a_sequence_that_repeats_it(
    fusion: str, make_head: Callable[..., FusionHead], make_streams: MakeStreams
) -> None:
    head, streams = make_head(fusion), make_streams()
    vectors = Projected(*(part if part.dim() == 1 else part[:, :1] for part in streams["face"]))
    repeated = streams["audio"]._replace(values=vectors.values.expand_as(streams["audio"].values))
    with torch.no_grad():
        actual = head({**streams, "face": vectors}).vector
        expected = head({**streams, "face": repeated}).vector
        sequences = head(streams).vector
    torch.testing.assert_close(actual, expected)
    assert not torch.allclose(actual, sequences)


@heads
def test_frames_that_one_stream_lacks_are_not_read_from_it(
    fusion: str, make_head: Callable[..., FusionHead], make_streams: MakeStreams
) -> None:
    head, streams = make_head(fusion), make_streams()
    valid = streams["face"].valid.clone()
    valid[:, 2:4] = False  # a gap; the third utterance has one frame only
    valid[1, 6:] = False  # a sequence that is shorter than the other one
    face = streams["face"]._replace(valid=valid)
    garbage = face._replace(values=face.values.masked_fill(~valid[..., None], 100.0))
    zeros = face._replace(values=face.values.masked_fill(~valid[..., None], 0.0))
    with torch.no_grad():
        expected = head({**streams, "face": zeros}).vector
        torch.testing.assert_close(head({**streams, "face": garbage}).vector, expected)
        assert not torch.allclose(expected[1], head(streams).vector[1])


@heads
def test_every_one_of_three_streams_counts(
    fusion: str, make_head: Callable[..., FusionHead], make_streams: MakeStreams
) -> None:
    names = ("audio", "face/clip", "text")
    head, streams = make_head(fusion, names), make_streams(names)
    with torch.no_grad():
        expected = head(streams).vector
        for name in names:
            changed = streams[name]._replace(values=streams[name].values + 1)
            assert not torch.allclose(head({**streams, name: changed}).vector, expected)


@heads
def test_half_precision_gives_about_the_same_vector(
    fusion: str, make_head: Callable[..., FusionHead], make_streams: MakeStreams
) -> None:
    head, streams = make_head(fusion), make_streams(missing=("face",))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        vector = head(streams).vector
    vector.float().square().mean().backward()
    torch.testing.assert_close(vector.float(), head(streams).vector, atol=0.05, rtol=0.05)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
