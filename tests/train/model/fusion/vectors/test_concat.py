"""Concatenation of the means of the streams."""

from collections.abc import Callable

import torch

from foal.train.model.architecture import Architecture
from foal.train.model.fusion.registry import build_fusion
from foal.train.model.pooling import Projected


def test_the_vector_is_the_means_of_the_valid_frames(
    make_architecture: Callable[..., Architecture], make_streams: Callable[..., dict[str, Projected]]
) -> None:
    streams = make_streams(("audio", "text"), garbage=7.0)
    head = build_fusion(make_architecture("concat", ("audio", "text"))).eval()
    vector = head(streams).vector
    for row in range(6):
        means = [side.values[row][side.valid[row]].mean(0) for side in streams.values()]
        torch.testing.assert_close(vector[row], torch.cat(means))
    assert head.width == 32
    assert build_fusion(make_architecture("concat", hidden=7)).width == 7
