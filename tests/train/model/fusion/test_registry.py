"""What every fusion head promises: padding, batches, missing modalities, gradients, pairs, checkpoints."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from foal.shared.config.fusion_settings import FUSIONS
from foal.train.model.architecture import Architecture
from foal.train.model.checkpoint import load_model, save_model
from foal.train.model.foalnet import FoalNet, build_model
from foal.train.model.fusion.base import FusionHead, Supervision
from foal.train.model.fusion.registry import FUSION_HEADS, build_fusion
from foal.train.model.pooling import Projected

MakeStreams = Callable[..., dict[str, Projected]]
MakeArchitecture = Callable[..., Architecture]
LABELS = torch.tensor([0, 1, 0, 1, 2, 0])

heads = pytest.mark.parametrize("fusion", FUSION_HEADS)


def names_for(fusion: str) -> tuple[str, ...]:
    return ("audio", "face", "text") if FUSIONS[fusion].needs.text else ("audio", "face")


@pytest.fixture
def make_head(make_architecture: MakeArchitecture) -> Callable[..., FusionHead]:
    def make(fusion: str, seed: int = 0, **options: object) -> FusionHead:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return build_fusion(make_architecture(fusion, names_for(fusion), **options)).eval()

    return make


def rows_of(streams: dict[str, Projected], rows: Tensor) -> dict[str, Projected]:
    return {name: Projected(*(part[rows] for part in side)) for name, side in streams.items()}


def test_every_system_has_options_and_a_head() -> None:
    assert set(FUSION_HEADS) == {name for name, options in FUSIONS.items() if not options.needs.dialogs}


@heads
def test_padding_with_garbage_changes_nothing(
    fusion: str, make_head: Callable[..., FusionHead], make_streams: MakeStreams
) -> None:
    head, names = make_head(fusion), names_for(fusion)
    with torch.no_grad():
        expected = head(make_streams(names)).vector
        actual = head(make_streams(names, padding=3, garbage=100.0)).vector
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
    assert expected.shape == (6, head.width)


@heads
@pytest.mark.parametrize("missing", [(), ("face",)])
def test_a_row_alone_equals_the_row_in_its_batch_and_a_permutation_permutes(
    fusion: str, make_head: Callable[..., FusionHead], make_streams: MakeStreams, missing: tuple[str, ...]
) -> None:
    head = make_head(fusion)
    streams = make_streams(names_for(fusion), missing=missing)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    with torch.no_grad():
        together = head(streams).vector
        alone = torch.cat([head(rows_of(streams, torch.tensor([row]))).vector for row in range(6)])
        permuted = head(rows_of(streams, order)).vector
    assert together.isfinite().all()
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(permuted, together[order], atol=1e-5, rtol=1e-5)


@heads
def test_every_parameter_gets_a_finite_gradient(
    fusion: str, make_head: Callable[..., FusionHead], make_streams: MakeStreams
) -> None:
    head = make_head(fusion).train()
    streams = make_streams(names_for(fusion), missing=("face",))
    matcher = head.build_matcher()
    rows = torch.tensor([list(range(6)), [3, 2, 5, 0, 1, 4]])
    directions = [(a, b) for a in streams for b in streams if a != b]
    own, pairs = head.fuse_pairs(streams, dict.fromkeys(directions, rows))
    loss = own.vector.square().mean()
    # The sum of both logits would have no gradient behind a softmax, one logit has.
    loss = loss + sum(logits[..., 0].sum() for logits in matcher(pairs).values())
    for value in head.extra_losses(own, streams, Supervision(LABELS, torch.arange(6))).values():
        loss = loss + value
    loss.backward()
    for name, parameter in [*head.named_parameters(), *matcher.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@heads
@pytest.mark.parametrize("labels", [torch.zeros(6, dtype=torch.long), None])
@pytest.mark.parametrize("size", [1, 6])
def test_batches_of_one_row_or_class_are_finite(
    fusion: str, make_head: Callable[..., FusionHead], make_streams: MakeStreams, labels: Tensor | None, size: int
) -> None:
    head = make_head(fusion).train()
    streams = rows_of(make_streams(names_for(fusion)), torch.arange(size))
    for side in streams.values():
        side.values.requires_grad_()
    fused = head(streams)
    supervision = Supervision(None if labels is None else labels[:size], torch.arange(size))
    losses = head.extra_losses(fused, streams, supervision)
    total = fused.vector.square().mean() + sum(losses.values())
    total.backward()
    assert total.isfinite()
    assert all(side.values.grad is not None and side.values.grad.isfinite().all() for side in streams.values())


@heads
def test_a_pair_is_the_fusion_with_the_stream_of_the_partner(
    fusion: str, make_head: Callable[..., FusionHead], make_streams: MakeStreams
) -> None:
    head = make_head(fusion)
    streams = make_streams(names_for(fusion))
    own = torch.arange(6)
    directions = [(a, b) for a in streams for b in streams if a != b]
    with torch.no_grad():
        partners = {direction: torch.stack([own, own.flip(0)]) for direction in directions}
        result = head.fuse_pairs(streams, partners)
        same = head.fuse_pairs(streams, {direction: torch.stack([own, own]) for direction in directions})
    torch.testing.assert_close(result.own.vector, head(streams).vector)
    for direction in directions:
        # A row paired with itself is its own pair, in grid heads on the same frames too.
        torch.testing.assert_close(same.pairs[direction][0], same.pairs[direction][1], atol=1e-5, rtol=1e-5)
        assert not torch.allclose(result.pairs[direction][0], result.pairs[direction][1])


@heads
def test_the_same_seed_gives_the_same_head_and_another_one_another(
    fusion: str, make_head: Callable[..., FusionHead], make_streams: MakeStreams
) -> None:
    streams = make_streams(names_for(fusion))
    with torch.no_grad():
        first, again = make_head(fusion)(streams).vector, make_head(fusion)(streams).vector
    assert torch.equal(first, again)
    if any(True for _ in make_head(fusion).parameters()):
        assert not torch.equal(make_head(fusion, seed=1)(streams).vector, first)


@heads
def test_a_saved_network_gives_the_same_logits(
    fusion: str, make_architecture: MakeArchitecture, make_streams: MakeStreams, tmp_path: Path
) -> None:
    architecture = make_architecture(fusion, names_for(fusion))
    architecture = replace(architecture, fusion_options=FUSIONS[fusion]().model_dump(mode="json"))
    model = build_model(architecture).eval()
    save_model(tmp_path / "model", model, {"classes": []})
    loaded, config = load_model(tmp_path / "model")
    assert isinstance(loaded, FoalNet)
    streams = make_streams(names_for(fusion))
    with torch.no_grad():
        assert torch.equal(loaded.classify(loaded.head(streams), streams), model.classify(model.head(streams), streams))
    assert config["architecture"]["fusion"] == fusion
