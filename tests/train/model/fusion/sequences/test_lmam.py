"""Low-rank matching attention: its formula, its limits, symmetry, size."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from foal.train.model.architecture import Architecture
from foal.train.model.fusion.layers import MatchingAttention
from foal.train.model.fusion.registry import build_fusion
from foal.train.model.fusion.sequences.lmam import LmamFusion
from foal.train.model.pooling import Projected

MakeStreams = Callable[..., dict[str, Projected]]
MakeArchitecture = Callable[..., Architecture]


def make_head(make_architecture: MakeArchitecture, names: tuple[str, ...], **options: object) -> LmamFusion:
    torch.manual_seed(0)
    head = build_fusion(make_architecture("lmam", names, **options)).eval()
    assert isinstance(head, LmamFusion)
    return head


def by_formula(
    streams: dict[str, Projected], norms: torch.nn.ModuleList, score: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """z of each row alone, from its valid frames, with the scores of a pair of sequences."""
    rows = []
    for row in range(6):
        sequences = [side.values[row][side.valid[row]] for side in streams.values()]
        means = []
        for x, norm in zip(sequences, norms, strict=True):
            matched = sum(score(x, y).softmax(-1) @ y for y in sequences)
            assert isinstance(matched, Tensor)
            means.append(norm(F.gelu(matched) + x).mean(0))
        rows.append(torch.cat(means))
    return torch.stack(rows)


@pytest.mark.parametrize("names", [("audio",), ("audio", "face"), ("audio", "face", "text")])
def test_full_rank_is_attention_with_one_full_matrix(
    make_architecture: MakeArchitecture, make_streams: MakeStreams, names: tuple[str, ...]
) -> None:
    head, streams = make_head(make_architecture, names, rank=16), make_streams(names, missing=("face",))
    matrix = head.matching.query.weight.T @ head.matching.key.weight  # W = U P'
    offset = head.matching.query.bias @ head.matching.key.weight
    expected = by_formula(streams, head.matching.norms, lambda x, y: (x @ matrix + offset) @ y.T / 4)
    torch.testing.assert_close(head(streams).vector, expected, atol=1e-5, rtol=1e-5)


def test_the_matrix_has_the_rank_of_the_option(make_architecture: MakeArchitecture, make_streams: MakeStreams) -> None:
    names = ("audio", "face")
    head, streams = make_head(make_architecture, names, rank=3), make_streams()
    matrix = head.matching.query.weight.T @ head.matching.key.weight
    assert torch.linalg.matrix_rank(matrix).item() == 3
    offset = head.matching.query.bias @ head.matching.key.weight
    expected = by_formula(streams, head.matching.norms, lambda x, y: (x @ matrix + offset) @ y.T / 3**0.5)
    torch.testing.assert_close(head(streams).vector, expected, atol=1e-5, rtol=1e-5)


def test_constant_scores_give_the_mean_of_the_values(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    head, streams = make_head(make_architecture, ("audio", "face")), make_streams()
    torch.nn.init.zeros_(head.matching.query.weight)
    torch.nn.init.zeros_(head.matching.query.bias)
    vector = head(streams).vector
    audio, face = (side.values[1][:8] for side in streams.values())
    both = audio.mean(0) + face.mean(0)  # values of every stream, not of one
    for x, norm, half in zip((audio, face), head.matching.norms, vector[1].split(16), strict=True):
        torch.testing.assert_close(half, norm(F.gelu(both) + x).mean(0))


def test_scores_have_no_limit(make_streams: MakeStreams) -> None:
    # A tanh before the softmax would let no frame count more than e^2 times another.
    matching = MatchingAttention(width=16, rank=16, streams=1)
    for linear in (matching.query, matching.key):
        linear.weight.data = 100 * torch.eye(16)
    matching.query.bias.data.zero_()
    side = make_streams(("audio",))["audio"]
    (result,) = matching([side.values], [side.valid])
    frames = side.values[1]
    chosen = frames[(frames @ frames.T).argmax(1)]
    torch.testing.assert_close(result[1], matching.norms[0](F.gelu(chosen) + frames))


def test_swapping_streams_swaps_the_vector(make_architecture: MakeArchitecture, make_streams: MakeStreams) -> None:
    streams = make_streams()
    head, swapped = (make_head(make_architecture, names) for names in (("audio", "face"), ("face", "audio")))
    audio, face = (torch.randn(16) for _ in range(2))
    head.matching.norms[0].bias.data, head.matching.norms[1].bias.data = audio, face  # type: ignore[assignment]
    swapped.matching.norms[0].bias.data, swapped.matching.norms[1].bias.data = face, audio  # type: ignore[assignment]
    first, second = head(streams).vector.split(16, -1)
    reverse = swapped({name: streams[name] for name in ("face", "audio")}).vector
    torch.testing.assert_close(reverse, torch.cat([second, first], -1))


def test_the_order_of_frames_is_not_read(make_architecture: MakeArchitecture, make_streams: MakeStreams) -> None:
    head, streams = make_head(make_architecture, ("audio", "face")), make_streams()
    flipped = {
        name: side._replace(values=side.values.flip(1), valid=side.valid.flip(1)) for name, side in streams.items()
    }
    torch.testing.assert_close(head(flipped).vector, head(streams).vector)


def test_the_size_is_that_of_the_low_rank_form(make_architecture: MakeArchitecture) -> None:
    for width, expected in ((128, 4_624), (512, 18_448)):
        head = build_fusion(replace(make_architecture("lmam"), width=width))
        assert sum(parameter.numel() for parameter in head.parameters()) == expected
