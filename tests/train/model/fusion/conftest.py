"""Streams for the tests of fusion heads."""

from collections.abc import Callable, Sequence

import pytest
import torch

from foal.train.model.architecture import Architecture
from foal.train.model.fusion.registry import FUSION_HEADS
from foal.train.model.pooling import Projected

WIDTH = 16
LENGTHS = (5, 8, 1, 6, 3, 7)
"""Valid frames of each of six utterances."""


@pytest.fixture(scope="session")
def make_streams() -> Callable[..., dict[str, Projected]]:
    """Projected streams of six utterances; the last frames of most are padding.

    Args of the function: names of the inputs; names of inputs that the fourth utterance lacks (one placeholder frame);
    number of padding frames behind the longest utterance; value of padding frames.
    """

    def make(
        names: Sequence[str] = ("audio", "face"), *, missing: Sequence[str] = (), padding: int = 0, garbage: float = 0.0
    ) -> dict[str, Projected]:
        rng = torch.Generator().manual_seed(0)
        length = max(LENGTHS) + padding
        streams = {}
        for name in names:
            values = torch.randn(len(LENGTHS), max(LENGTHS), WIDTH, generator=rng)
            values = torch.nn.functional.pad(values, (0, 0, 0, padding))
            valid = torch.arange(length) < torch.tensor(LENGTHS)[:, None]
            present = torch.ones(len(LENGTHS), dtype=torch.bool)
            if name in missing:
                valid[3], present[3] = torch.arange(length) == 0, False
            values = values.masked_fill(~valid[..., None], garbage)
            streams[name] = Projected(values, valid, present, values)
        return streams

    return make


@pytest.fixture(scope="session")
def make_architecture() -> Callable[..., Architecture]:
    """The architecture of a small network with a fusion head."""

    def make(fusion: str, names: Sequence[str] = ("audio", "face"), **options: object) -> Architecture:
        assert fusion in FUSION_HEADS
        return Architecture(
            frame_shapes=dict.fromkeys(names, (5,)),
            classes=3,
            width=WIDTH,
            heads=4,
            layers=1,
            dropout=0.0,
            projection_dropout=0.0,
            fusion=fusion,
            fusion_options=options,
        )

    return make
