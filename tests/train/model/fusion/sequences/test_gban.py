"""Gated bidirectional alignment: its equations, gates, symmetry, MEM's pairs."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from torch import Tensor

from foal.train.model.architecture import Architecture
from foal.train.model.fusion.base import FusionHead
from foal.train.model.fusion.layers import PackedLstm
from foal.train.model.fusion.registry import build_fusion
from foal.train.model.fusion.sequences.gban import GatedAlignment, GatedGroup, GbanFusion, last_states, read
from foal.train.model.pooling import Projected, masked_mean

MakeStreams = Callable[..., dict[str, Projected]]
MakeArchitecture = Callable[..., Architecture]


def make_head(make_architecture: MakeArchitecture, names: tuple[str, ...], **options: object) -> GbanFusion:
    torch.manual_seed(0)
    head = build_fusion(make_architecture("gban", names, **options)).eval()
    assert isinstance(head, GbanFusion)
    return head


def group(parts: GatedGroup, x: Tensor, y: Tensor) -> Tensor:
    """z tanh(W1 x) + (1 - z) tanh(W2 y), z = sigmoid(W3 [x; y])."""
    z = torch.sigmoid(parts.gate.weight @ torch.cat([x, y]))
    return z * torch.tanh(parts.first.weight @ x) + (1 - z) * torch.tanh(parts.second.weight @ y)


@pytest.mark.parametrize("scores", ["scaled", "tanh"])
@pytest.mark.parametrize("names", [("audio", "face"), ("audio", "face", "text")])
def test_the_vector_equals_the_equations_of_the_paper(
    make_architecture: MakeArchitecture, make_streams: MakeStreams, names: tuple[str, ...], scores: str
) -> None:
    head = make_head(make_architecture, names, scores=scores)
    streams = make_streams(names, missing=("face",))
    vector = head(streams).vector
    for row in range(6):
        outputs, states = {}, {}
        for name, side in streams.items():
            sequence, (state, _) = head.lstms[name].lstm(side.values[row][side.valid[row]][None])  # type: ignore[operator, union-attr]
            outputs[name], states[name] = sequence[0], state[:, 0].flatten()
        sums = []
        pairs = zip(combinations(names, 2), head.alignment.aligned, head.alignment.last, strict=True)
        for (a, b), of_aligned, of_last in pairs:
            e = outputs[a] @ outputs[b].T
            e = e.tanh() if scores == "tanh" else e / 4
            first = (e.softmax(0).T @ outputs[a]).mean(0)  # for each frame of b one of a
            second = (e.softmax(1) @ outputs[b]).mean(0)
            assert isinstance(of_aligned, GatedGroup)
            assert isinstance(of_last, GatedGroup)
            sums.append(group(of_aligned, first, second) + group(of_last, states[a], states[b]))
        torch.testing.assert_close(vector[row], torch.stack(sums).mean(0), atol=1e-5, rtol=1e-5)


def test_half_gates_and_equal_weights_give_twice_the_mean_of_four(make_streams: MakeStreams) -> None:
    torch.manual_seed(0)
    alignment = GatedAlignment(width=16, names=["audio", "face"], scores="scaled")
    streams = make_streams()
    # Orthogonal sequences: all scores are zero, all weights equal.
    keep = {"audio": torch.arange(16) < 8, "face": torch.arange(16) >= 8}
    streams = {name: side._replace(values=side.values * keep[name]) for name, side in streams.items()}
    aligned, last = alignment.aligned[0], alignment.last[0]
    assert isinstance(aligned, GatedGroup)
    assert isinstance(last, GatedGroup)
    for part in (aligned, last):
        torch.nn.init.zeros_(part.gate.weight)
    means = [masked_mean(side.values, side.valid) for side in streams.values()]
    states = [last_states(side.values, side.valid) for side in streams.values()]
    four = [aligned.first(means[0]), aligned.second(means[1]), last.first(states[0]), last.second(states[1])]
    fused = alignment(streams)
    torch.testing.assert_close(fused.vector, 2 * torch.stack(four).tanh().mean(0))
    assert list(fused.parts) == ["audio|face aligned", "audio|face last"]
    assert all((gate == 0.5).all() for gate in fused.parts.values())


def test_swapping_the_streams_with_their_weights_changes_nothing(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    head, swapped = (make_head(make_architecture, names) for names in (("audio", "face"), ("face", "audio")))
    swapped.lstms.load_state_dict(head.lstms.state_dict())
    for ours, theirs in (
        (head.alignment.aligned, swapped.alignment.aligned),
        (head.alignment.last, swapped.alignment.last),
    ):
        a, b = ours[0], theirs[0]
        assert isinstance(a, GatedGroup)
        assert isinstance(b, GatedGroup)
        b.first.weight.data, b.second.weight.data = a.second.weight.data, a.first.weight.data
        # sigmoid(-x) = 1 - sigmoid(x)
        b.gate.weight.data = -a.gate.weight.data.roll(16, 1)
    streams = make_streams()
    reverse = {name: streams[name] for name in ("face", "audio")}
    torch.testing.assert_close(swapped(reverse).vector, head(streams).vector)


def test_only_scores_behind_tanh_are_limited(make_streams: MakeStreams) -> None:
    side = make_streams(("audio",))["audio"]
    scores = 100 * torch.randn(6, 4, 8, generator=torch.Generator().manual_seed(1))
    readers = torch.ones(6, 4, dtype=torch.bool)
    one_hot = side._replace(values=torch.eye(8).expand(6, -1, -1))
    # With unit vectors as values, the result is the mean weight of each frame.
    limited, free = read(scores.tanh(), readers, one_hot), read(scores, readers, one_hot)
    assert (limited[1].max() / limited[1].min()).item() <= 7.4
    assert free[1].max() > 100 * free[1].min()


def test_the_last_states_are_those_of_the_lstm(make_streams: MakeStreams) -> None:
    torch.manual_seed(0)
    lstm = PackedLstm(width=16)
    audio = make_streams(padding=2, garbage=9.0)["audio"]
    valid = audio.valid.clone()
    valid[1, 2] = valid[5, 0] = False  # gaps, one at the beginning
    outputs, expected = lstm(audio.values, valid)
    torch.testing.assert_close(last_states(outputs, valid), expected)


def test_pairs_that_share_the_lstms_equal_fusions_of_their_own(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    names = ("audio", "face", "text")
    head, streams = make_head(make_architecture, names), make_streams(names)
    rows = torch.tensor([[0, 1, 2, 3, 4, 5], [3, 3, 0, 1, 2, 4], [5, 4, 3, 2, 1, 0]])
    partners = {(a, b): rows for a in names for b in names if a != b}
    shared, separate = head.fuse_pairs(streams, partners), FusionHead.fuse_pairs(head, streams, partners)
    torch.testing.assert_close(shared.own.vector, separate.own.vector)
    for direction in partners:
        torch.testing.assert_close(shared.pairs[direction], separate.pairs[direction])


def test_the_size_at_width_128(make_architecture: MakeArchitecture) -> None:
    head = build_fusion(replace(make_architecture("gban"), width=128))
    assert sum(parameter.numel() for parameter in head.parameters()) == 2 * 99_328 + 8 * 128**2
