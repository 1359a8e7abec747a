"""Slots, the inception block, and the interaction of AIMDiT's streams."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from foal.train.model.architecture import Architecture
from foal.train.model.fusion.registry import build_fusion
from foal.train.model.fusion.sequences.aimdit import AimditFusion, Inception, to_slots
from foal.train.model.pooling import Projected

MakeStreams = Callable[..., dict[str, Projected]]
MakeArchitecture = Callable[..., Architecture]
NAMES = ("audio", "face", "text")


def make_head(
    make_architecture: MakeArchitecture, names: tuple[str, ...] = ("audio", "face"), **options: object
) -> AimditFusion:
    torch.manual_seed(0)
    head = build_fusion(make_architecture("aimdit", names, **options)).eval()
    assert isinstance(head, AimditFusion)
    return head


@given(valid=st.lists(st.booleans(), min_size=1, max_size=40).filter(any), slots=st.integers(2, 12))
def test_a_slot_is_the_mean_of_its_share_of_the_valid_frames(valid: list[bool], slots: int) -> None:
    mask = torch.tensor([valid])
    values = torch.randn(1, len(valid), 2, generator=torch.Generator().manual_seed(0))
    side = Projected(values, mask, torch.ones(1, dtype=torch.bool), values)
    frames = values[mask]
    members: list[list[int]] = [[] for _ in range(slots)]
    for rank in range(len(frames)):
        members[rank * slots // len(frames)].append(rank)
    means, filled = to_slots(side, slots)
    assert filled[0].tolist() == [bool(ranks) for ranks in members]
    assert filled[0, 0]
    for slot, ranks in enumerate(members):
        expected = frames[ranks].mean(0) if ranks else torch.zeros(2)
        torch.testing.assert_close(means[0, slot], expected)
    # Slots differ by at most one frame.
    sizes = [len(ranks) for ranks in members]
    assert max(sizes) - min(sizes) <= 1


def test_padding_and_gaps_change_nothing_at_all(make_streams: MakeStreams) -> None:
    clean, dirty = (make_streams(padding=n, garbage=100.0)["audio"] for n in (0, 9))
    assert all(torch.equal(a, b) for a, b in zip(to_slots(clean, 4), to_slots(dirty, 4), strict=True))


@pytest.mark.parametrize(
    ("streams", "kernels", "sizes"),
    [(2, 3, [(1, 1), (3, 3), (3, 5)]), (3, 4, [(1, 1), (3, 3), (5, 5), (5, 7)]), (2, 1, [(1, 1)])],
)
def test_the_block_is_the_mean_of_its_convolutions(streams: int, kernels: int, sizes: list[tuple[int, int]]) -> None:
    torch.manual_seed(0)
    block = Inception(inputs=4, outputs=6, streams=streams, kernels=kernels)
    assert [each.kernel_size for each in block.convolutions] == sizes
    x = torch.randn(2, 4, streams, 8)
    each = [
        F.conv2d(x, part.weight, part.bias, padding=(part.weight.shape[2] // 2, part.weight.shape[3] // 2))  # type: ignore[arg-type, union-attr, index]
        for part in block.convolutions
    ]
    torch.testing.assert_close(block(x), torch.stack(each).mean(0))


@pytest.mark.parametrize("names", [("audio", "face"), NAMES])
def test_the_vector_equals_the_equations(
    make_architecture: MakeArchitecture, make_streams: MakeStreams, names: tuple[str, ...]
) -> None:
    head = make_head(make_architecture, names, slots=4)
    streams = make_streams(names, missing=("face",), garbage=3.0)
    vector = head(streams).vector
    assert vector.shape == (6, len(names) * (len(names) - 1) * 16)
    slots = {name: to_slots(side, 4) for name, side in streams.items()}
    g = torch.stack([slots[name][0] for name in names], 2)  # (b, T, M, d)
    first, last = head.augment[0], head.augment[2]
    grown = last(F.gelu(first(g.permute(0, 3, 2, 1)))).permute(0, 3, 2, 1)
    g = F.layer_norm(g + grown, (16,), head.norm.weight, head.norm.bias)
    for row in range(6):
        rows = {name: g[row, slots[name][1][row], number] for number, name in enumerate(names)}
        means = []
        for name in names:
            read = []
            for other in names:
                if other == name:
                    continue
                q, keys = rows[name][None], rows[other][None]
                for layer in head.interaction.readers[name][other].layers:  # type: ignore[index, union-attr]
                    q = layer(q, keys, torch.ones(keys.shape[:2], dtype=torch.bool), torch.tensor([0]))
                read.append(q)
            joined = torch.cat(read, -1)
            encoded = head.interaction.encoders[name](joined, torch.ones(joined.shape[:2], dtype=torch.bool))
            means.append(encoded[0].mean(0))
        torch.testing.assert_close(vector[row], torch.cat(means), atol=1e-5, rtol=1e-5)


def test_a_missing_stream_is_its_placeholder_in_the_first_slot(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    head, streams = make_head(make_architecture, slots=4), make_streams(missing=("face",))
    means, filled = to_slots(streams["face"], 4)
    assert filled[3].tolist() == [True, False, False, False]
    assert torch.equal(means[3, 0], streams["face"].values[3, 0])
    streams["face"].values.requires_grad_()
    vector = head(streams).vector[3]
    assert vector.isfinite().all()
    vector.square().sum().backward()
    assert streams["face"].values.grad is not None
    assert streams["face"].values.grad[3, 0].abs().sum() > 0


def test_the_bottleneck_and_the_size_at_width_128(make_architecture: MakeArchitecture) -> None:
    head = build_fusion(replace(make_architecture("aimdit"), width=128))
    hidden = 32
    block = (1 + 9 + 15) * 128 * hidden  # weights of three convolutions
    convolutions = 2 * block + 3 * (hidden + 128)
    projections = 4 * (128**2 + 128)
    readers = 2 * 2 * (projections + 2 * 128)
    encoders = 2 * (projections + 4 * 128**2 + 3 * 128 + 4 * 128)
    expected = convolutions + 2 * 128 + readers + encoders
    assert sum(parameter.numel() for parameter in head.parameters()) == expected
    narrow = make_head(make_architecture, bottleneck=64)
    block_of_one = narrow.augment[0]
    assert isinstance(block_of_one, Inception)
    first = block_of_one.convolutions[0]
    assert isinstance(first, nn.Conv2d)
    assert first.out_channels == 1
