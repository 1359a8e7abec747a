"""Multimodal transformer: its equations, the order of frames, and faults of public code that it avoids."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from foal.shared.errors import TrainingError
from foal.train.model.architecture import Architecture
from foal.train.model.fusion.layers import PreNormStack
from foal.train.model.fusion.registry import build_fusion
from foal.train.model.fusion.sequences.mult import MultFusion
from foal.train.model.layers import sinusoidal_positions
from foal.train.model.pooling import Projected

MakeStreams = Callable[..., dict[str, Projected]]
MakeArchitecture = Callable[..., Architecture]
NAMES = ("audio", "face", "text")


def make_head(
    make_architecture: MakeArchitecture, names: tuple[str, ...] = ("audio", "face"), **options: object
) -> MultFusion:
    torch.manual_seed(0)
    head = build_fusion(make_architecture("mult", names, **options)).eval()
    assert isinstance(head, MultFusion)
    return head


def stack(module: PreNormStack, x: Tensor, keys: Tensor | None) -> Tensor:
    """Z <- Z + MHA(LN Z, LN K, LN K), Z <- Z + FFN(LN Z), of one utterance without padding; LN Z at the end."""
    for layer in module.layers:
        attention, norms, feed_forward = layer.attention, layer.norms, layer.feed_forward
        read = norms[0](x if keys is None else keys)  # type: ignore[index, operator]
        q, k, v = (
            part(value).unflatten(-1, (attention.heads, -1)).transpose(0, 1)  # type: ignore[union-attr, operator]
            for part, value in (
                (attention.query, norms[0](x)),  # type: ignore[union-attr, index, operator]
                (attention.key, read),  # type: ignore[union-attr]
                (attention.value, read),  # type: ignore[union-attr]
            )
        )
        weights = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1)
        x = x + attention.output((weights @ v).transpose(0, 1).flatten(1))  # type: ignore[union-attr, operator]
        x = x + feed_forward(norms[1](x))  # type: ignore[operator, index]
    normed: Tensor = module.norm(x)
    return normed


@pytest.mark.parametrize("names", [("audio", "face"), NAMES])
def test_the_vector_equals_the_equations(
    make_architecture: MakeArchitecture, make_streams: MakeStreams, names: tuple[str, ...]
) -> None:
    head, streams = make_head(make_architecture, names), make_streams(names, missing=("face",), garbage=3.0)
    vector = head(streams).vector
    assert vector.shape == (6, len(names) * (len(names) - 1) * 16)
    for row in range(6):
        frames = {name: side.values[row][side.valid[row]] for name, side in streams.items()}
        frames = {name: x + sinusoidal_positions(len(x), 16, x.device) for name, x in frames.items()}
        means = []
        for name in names:
            readers = head.interaction.readers[name]
            read = [stack(readers[u], frames[name], frames[u]) for u in names if u != name]  # type: ignore[index]
            encoder = head.interaction.encoders[name]
            assert isinstance(encoder, PreNormStack)
            means.append(stack(encoder, torch.cat(read, -1), None).mean(0))
        x = torch.cat(means)
        first, last = head.residual[0], head.residual[-1]
        expected = x + last(F.relu(first(x)))
        torch.testing.assert_close(vector[row], expected, atol=1e-5, rtol=1e-5)


def test_only_positions_make_the_order_of_frames_count(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    def shuffled(side: Projected, seed: int) -> Projected:
        order = torch.randperm(side.valid.shape[1], generator=torch.Generator().manual_seed(seed))
        return side._replace(values=side.values[:, order], valid=side.valid[:, order], inputs=side.inputs[:, order])

    streams = make_streams(garbage=4.0)
    # Each stream in an order of its own; padding moves between the valid frames.
    other = {name: shuffled(side, seed) for seed, (name, side) in enumerate(streams.items())}
    head = make_head(make_architecture, positions=False)
    torch.testing.assert_close(head(other).vector, head(streams).vector, atol=1e-5, rtol=1e-5)
    head = make_head(make_architecture, positions=True)
    assert (head(other).vector - head(streams).vector).abs().max() > 0.01


def test_the_first_frame_reads_the_last_one(make_architecture: MakeArchitecture, make_streams: MakeStreams) -> None:
    """MERBench and MMSA leave a causal mask on, whose meaning depends on both lengths."""
    head, streams = make_head(make_architecture), make_streams()
    readers = head.interaction.readers["audio"]
    reader, encoder = readers["face"], head.interaction.encoders["audio"]  # type: ignore[index]
    x = streams["audio"].values[1:2, :4].clone().requires_grad_()  # an utterance without padding
    keys = streams["face"].values[1:2].clone().requires_grad_()
    read = reader(x, streams["face"].valid[1:2], keys)
    (gradient,) = torch.autograd.grad(read[0, 0].square().sum(), keys, retain_graph=True)
    assert (gradient[0].abs().sum(-1) > 0).all()
    (gradient,) = torch.autograd.grad(encoder(read, torch.ones(1, 4, dtype=torch.bool))[0, 0].square().sum(), x)
    assert (gradient[0].abs().sum(-1) > 0).all()


def test_all_frames_count_in_the_vector(make_architecture: MakeArchitecture, make_streams: MakeStreams) -> None:
    """The summary is the mean, not the last step."""
    head, streams = make_head(make_architecture), make_streams()
    for side in streams.values():
        side.values.requires_grad_()
    head(streams).vector.square().sum().backward()
    for side in streams.values():
        assert side.values.grad is not None
        assert ((side.values.grad.abs().sum(-1) > 0) == side.valid).all()


def test_the_size_at_width_128_and_heads_that_do_not_divide_it(make_architecture: MakeArchitecture) -> None:
    head = build_fusion(replace(make_architecture("mult"), width=128))
    layer = 4 * (128**2 + 128) + 8 * 128**2 + 5 * 128 + 4 * 128
    assert sum(parameter.numel() for parameter in head.parameters()) == 4 * (2 * layer + 256) + 2 * (256**2 + 256)
    with pytest.raises(TrainingError, match="expected a width that 3 heads divide, got 16"):
        build_fusion(make_architecture("mult", heads=3))
