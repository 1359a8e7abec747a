"""Each stream reads every other one: which modules are called with what, and the order of the result."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from foal.train.model.fusion.sequences.interaction import Interaction
from foal.train.model.pooling import Projected, masked_mean

MakeStreams = Callable[..., dict[str, Projected]]


class MeanReader(nn.Module):
    """Adds the mean of the other sequence to each frame."""

    def forward(self, x: Tensor, valid: Tensor, keys: Tensor) -> Tensor:
        return x + masked_mean(keys, valid)[:, None]


class Double(nn.Module):
    """Twice the input."""

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        return 2 * x


def test_the_results_of_all_ordered_pairs_are_joined(make_streams: MakeStreams) -> None:
    names = ("audio", "face", "text")
    widths = []

    def build_encoder(width: int) -> nn.Module:
        widths.append(width)
        return Double()

    interaction = Interaction(names, width=16, build_reader=MeanReader, build_encoder=build_encoder)
    streams = make_streams(names, garbage=30.0)
    vector = interaction({name: (side.values, side.valid) for name, side in streams.items()})
    u = {name: masked_mean(side.values, side.valid) for name, side in streams.items()}
    pairs = [("audio", "face"), ("audio", "text"), ("face", "audio"), ("face", "text"), ("text", "audio")]
    expected = torch.cat([2 * (u[a] + u[b]) for a, b in [*pairs, ("text", "face")]], -1)
    torch.testing.assert_close(vector, expected)
    assert widths == [32, 32, 32]
    assert interaction.width == vector.shape[1] == 96
