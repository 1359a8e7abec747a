"""A task that only an interaction of two streams solves: the class is the XOR of a bit of audio and a bit of the face.

Streams go to the heads without projections: frozen random linear maps of hidden features, one of which is the bit.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from foal.shared.config.fusion_settings import FUSIONS
from foal.train.model.architecture import Architecture
from foal.train.model.fusion.base import FusionHead, Supervision
from foal.train.model.fusion.registry import FUSION_HEADS, build_fusion
from foal.train.model.pooling import Projected

FRAMES, HIDDEN, WIDTH = 6, 3, 16
TRAIN, TEST, BATCH = 512, 256, 32
STEPS, CHECK_STEPS = 200, 20
SOLVED = 0.95

WITHOUT_INTERACTION = {
    "concat": "a linear classifier of the means is a sum of one term per stream",
    "textgate": "text scales the other streams, and tells nothing about the class here",
}
"""Heads that cannot solve the task by design, with the reason."""
OPTIONS: dict[str, dict[str, object]] = {
    # Its own losses have a trivial minimum, constant representations. No stream alone tells anything about the class,
    # so that the cross-entropy has no gradient against it in the first steps.
    "misa": {"similarity": 0, "difference": 0, "reconstruction": 0},
}
SLOW = frozenset({"aimdit", "cfn", "jmt", "mfn", "mpt", "mult"})
"""Heads that compute for more than two seconds."""


def make_task(names: tuple[str, ...]) -> tuple[dict[str, Projected], Tensor]:
    """Streams with a bit each, in noise that differs from frame to frame, and the XOR of the first two."""
    rng = torch.Generator().manual_seed(1)
    n = TRAIN + TEST
    bits = torch.randint(2, (len(names), n), generator=rng)
    streams = {}
    for name, bit in zip(names, bits, strict=True):
        hidden = torch.randn(n, FRAMES, HIDDEN, generator=rng)
        hidden[..., 0] = 2.0 * bit[:, None] - 1 + 0.5 * hidden[..., 0]
        weight = torch.randn(WIDTH, HIDDEN, generator=rng) / HIDDEN**0.5
        values = F.linear(hidden, weight, torch.randn(WIDTH, generator=rng))
        valid = torch.ones(n, FRAMES, dtype=torch.bool)
        streams[name] = Projected(values, valid, torch.ones(n, dtype=torch.bool), values)
    return streams, bits[0] ^ bits[1]


def rows_of(streams: dict[str, Projected], rows: Tensor) -> dict[str, Projected]:
    return {name: Projected(*(part[rows] for part in side)) for name, side in streams.items()}


def held_out_accuracy(head: FusionHead, streams: dict[str, Projected], labels: Tensor) -> float:
    """Accuracy of the head with a linear classifier on rows that it did not see; training ends when they are solved."""
    classifier = nn.Linear(head.width, 2)
    optimizer = torch.optim.Adam([*head.parameters(), *classifier.parameters()], lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    test = torch.arange(TRAIN, TRAIN + TEST)
    accuracy = 0.0
    for step in range(1, STEPS + 1):
        rows = torch.randint(TRAIN, (BATCH,))
        batch = rows_of(streams, rows)
        fused = head(batch)
        loss = F.cross_entropy(classifier(fused.vector), labels[rows])
        for value in head.extra_losses(fused, batch, Supervision(labels[rows], rows)).values():
            loss = loss + value
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([*head.parameters(), *classifier.parameters()], 1.0)
        optimizer.step()
        schedule.step()
        if step % CHECK_STEPS == 0:
            with torch.no_grad():
                predicted = classifier(head.eval()(rows_of(streams, test)).vector).argmax(1)
            accuracy = (predicted == labels[test]).float().mean().item()
            if accuracy > SOLVED:
                break
            head.train()
    return accuracy


def solved(architecture: Architecture) -> float:
    streams, labels = make_task(tuple(architecture.frame_shapes))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return held_out_accuracy(build_fusion(architecture).train(), streams, labels)


@pytest.mark.parametrize(
    "fusion", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in FUSION_HEADS]
)
def test_a_head_learns_an_interaction_of_two_streams(
    fusion: str, make_architecture: Callable[..., Architecture]
) -> None:
    names = ("audio", "face", "text") if FUSIONS[fusion].needs.text else ("audio", "face")
    accuracy = solved(make_architecture(fusion, names, **OPTIONS.get(fusion, {})))
    if fusion in WITHOUT_INTERACTION:
        assert accuracy < 0.7, WITHOUT_INTERACTION[fusion]
    else:
        assert accuracy > 0.9


def test_cross_attention_without_layers_is_a_concatenation(make_architecture: Callable[..., Architecture]) -> None:
    assert solved(replace(make_architecture("cross-attention"), layers=0)) < 0.7
