"""Pooling of frames by attention, and factorized bilinear pooling."""

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor

from foal.shared.config.fusion_settings import FbpSettings
from foal.train.model.architecture import Architecture
from foal.train.model.fusion.base import FusionHead
from foal.train.model.fusion.registry import build_fusion
from foal.train.model.fusion.sequences.fbp import BilinearPooling, FramePooling
from foal.train.model.pooling import Projected

MakeStreams = Callable[..., dict[str, Projected]]
MakeArchitecture = Callable[..., Architecture]
KINDS = get_args(FbpSettings.model_fields["pooling"].annotation)


def make_head(make_architecture: MakeArchitecture, *names: str, **options: object) -> FusionHead:
    torch.manual_seed(0)
    return build_fusion(make_architecture("fbp", names or ("audio", "face"), **options)).eval()


def expected_pooling(pool: FramePooling, frames: Tensor) -> Tensor:
    """The pooled vector of one utterance without padding, (t, d), by the formulas of the paper."""
    if pool.kind == "mean":
        return frames.mean(0)
    if pool.reduce is not None:
        reduced = pool.reduce(frames)
        weights = (reduced @ reduced.T / math.sqrt(reduced.shape[1])).mean(1).softmax(0)
        return weights @ frames
    assert pool.query is not None
    alpha = pool.query(frames)[:, 0].sigmoid()
    g = (alpha @ frames) / alpha.sum()
    if pool.relation is None:
        return g
    joined = torch.cat([frames, g.expand_as(frames)], 1)
    both = alpha * pool.relation(joined)[:, 0].sigmoid()
    return (both @ joined) / both.sum()


@pytest.mark.parametrize("kind", KINDS)
def test_pooling_equals_its_formula_on_the_valid_frames(make_streams: MakeStreams, kind: str) -> None:
    torch.manual_seed(0)
    pool = FramePooling(width=16, kind=kind, dropout=0.5).eval()
    audio = make_streams(padding=2, garbage=50.0)["audio"]
    pooled = pool(audio.values, audio.valid)
    for row in range(6):
        expected = expected_pooling(pool, audio.values[row][audio.valid[row]])
        torch.testing.assert_close(pooled[row], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_frames_are_their_own_mean_in_training_and_evaluation(kind: str) -> None:
    # The published code divides by the sum of other weights than it multiplies with in evaluation, which scales it up.
    torch.manual_seed(0)
    pool = FramePooling(width=16, kind=kind, dropout=0.5)
    frame = torch.randn(2, 1, 16)
    valid = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    for module in (pool.train(), pool.eval()):
        torch.testing.assert_close(module(frame.expand(2, 5, 16), valid)[:, :16], frame[:, 0])


def test_weights_that_underflow_are_no_division_by_zero() -> None:
    pool = FramePooling(width=4, kind="self", dropout=0.0)
    assert pool.query is not None
    with torch.no_grad():
        pool.query.weight.fill_(-1000.0)
    frames = torch.ones(1, 3, 4, requires_grad=True)
    pooled = pool(frames, torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(pooled, torch.ones(1, 4))
    pooled.sum().backward()
    assert frames.grad is not None
    assert frames.grad.isfinite().all()


def bilinear_forms(pool: BilinearPooling, x: Tensor, y: Tensor) -> Tensor:
    """x' W_o y for every o, with W_o = U_o P_o'."""
    first, second = (layer.weight.unflatten(0, (-1, pool.factors)) for layer in (pool.first, pool.second))
    return torch.einsum("bi,oij,bj->bo", x, torch.einsum("oki,okj->oij", first, second), y)


def test_bilinear_pooling_is_a_sum_of_bilinear_forms() -> None:
    torch.manual_seed(0)
    pool = BilinearPooling(inputs=6, outputs=8, factors=3, dropout=0.5, adaptive=False).eval()
    x, y = torch.randn(5, 6), torch.randn(5, 6)
    z = bilinear_forms(pool, x, y)
    rooted = z.sign() * z.abs().sqrt()
    expected = rooted / rooted.norm(dim=1, keepdim=True) * math.sqrt(8)
    torch.testing.assert_close(pool(x, y), expected, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(pool(x, y).square().sum(1), torch.full((5,), 8.0))


def test_one_weight_per_stream_would_cancel_and_one_per_feature_does_not() -> None:
    torch.manual_seed(0)
    plain = BilinearPooling(inputs=6, outputs=8, factors=3, dropout=0.0, adaptive=False)
    adaptive = BilinearPooling(inputs=6, outputs=8, factors=3, dropout=0.0, adaptive=True)
    adaptive.load_state_dict(plain.state_dict(), strict=False)
    x, y = torch.randn(5, 6), torch.randn(5, 6)
    torch.testing.assert_close(plain(0.4 * x, 1.6 * y), plain(x, y), atol=1e-3, rtol=1e-3)
    assert not torch.allclose(adaptive(x, y), plain(x, y), atol=1e-2)
    assert adaptive.gate is not None
    share = adaptive.gate(torch.cat([x, y], 1)).sigmoid()
    torch.testing.assert_close(adaptive(x, y), plain(2 * share * x, 2 * (1 - share) * y))


def test_gradients_at_zero_are_finite() -> None:
    pool = BilinearPooling(inputs=4, outputs=4, factors=2, dropout=0.0, adaptive=True)
    x, y = torch.zeros(2, 4, requires_grad=True), torch.zeros(2, 4, requires_grad=True)
    pool(x, y).sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert x.grad.isfinite().all()
    assert y.grad.isfinite().all()


@pytest.mark.parametrize("options", [{"pooling": kind} for kind in KINDS] + [{"adaptive": True}])
def test_options_keep_the_promises_of_a_head(
    make_architecture: MakeArchitecture, make_streams: MakeStreams, options: dict[str, object]
) -> None:
    names = ("audio", "face", "text")
    head = make_head(make_architecture, *names, **options)
    clean = head(make_streams(names, missing=("face",))).vector
    dirty = head(make_streams(names, missing=("face",), padding=3, garbage=100.0)).vector
    torch.testing.assert_close(dirty, clean, atol=1e-5, rtol=1e-5)
    assert clean.shape == (6, 3 * 16)  # one vector per pair of streams
    clean[..., 0].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_each_pair_of_streams_has_its_vector(make_architecture: MakeArchitecture, make_streams: MakeStreams) -> None:
    names = ("audio", "face", "text")
    head, streams = make_head(make_architecture, *names), make_streams(names)
    changed = {**streams, "text": streams["text"]._replace(values=streams["text"].values.flip(0))}
    before, after = (head(s).vector.unflatten(1, (3, 16)) for s in (streams, changed))
    torch.testing.assert_close(after[:, 0], before[:, 0])  # audio and face
    assert not torch.allclose(after[:, 1], before[:, 1])  # audio and text
    assert not torch.allclose(after[:, 2], before[:, 2])  # face and text
