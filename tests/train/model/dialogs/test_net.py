"""Heads over dialogs: causality, independence of the batch, gradients."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from foal.train.data.sequences import Frames
from foal.train.model.architecture import Architecture
from foal.train.model.dialogs.net import DialogNet, build_dialog_net

COUNTS = (5, 1, 9)
U = sum(COUNTS)
SMALL = Architecture(
    frame_shapes={"audio": (6,), "face": (4,)},
    classes=3,
    width=16,
    heads=4,
    layers=1,
    dropout=0.0,
    projection_dropout=0.0,
    skip=True,
    fusion="dialog-gru",
)


def network(**changes: object) -> DialogNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_dialog_net(replace(SMALL, **changes)).eval()  # type: ignore[arg-type]
        for parameter in model.parameters():  # the linear path begins with zeros
            torch.nn.init.normal_(parameter, std=0.5)
    return model


def turns(seed: int = 0) -> dict[str, Frames]:
    rng = torch.Generator().manual_seed(seed)
    return {
        name: Frames(torch.randn(U, 1, width, generator=rng), torch.rand(U, 1, generator=rng) < 0.8)
        for name, (width,) in SMALL.frame_shapes.items()
    }


def part(frames: Mapping[str, Frames], rows: Sequence[int]) -> dict[str, Frames]:
    return {name: Frames(stream.values[rows], stream.valid[rows]) for name, stream in frames.items()}


@torch.no_grad()
def logits(model: DialogNet, frames: Mapping[str, Frames], counts: Sequence[int] = COUNTS) -> Tensor:
    result: Tensor = model(frames, counts)
    return result


def changed_turn(frames: Mapping[str, Frames], row: int) -> dict[str, Frames]:
    changed = {}
    for name, stream in frames.items():
        values = stream.values.clone()
        values[row] += 10.0
        changed[name] = Frames(values, stream.valid.clone().index_fill_(0, torch.tensor([row]), True))
    return changed


@pytest.mark.parametrize("row", [1, 4, 8, 14])
def test_a_later_turn_changes_no_earlier_output_with_past(row: int) -> None:
    frames, model = turns(), network(context="past")
    before, after = logits(model, frames), logits(model, changed_turn(frames, row))
    differs = (before - after).abs().amax(1) > 1e-6
    end = next(sum(COUNTS[: number + 1]) for number in range(3) if row < sum(COUNTS[: number + 1]))
    assert differs.tolist() == [row <= turn < end for turn in range(U)]


def test_the_future_is_read_with_both_and_nothing_with_none() -> None:
    frames, row = turns(), 8  # the third turn of the third dialog
    both, none = network(context="both"), network(context="none")
    differs = (logits(both, frames) - logits(both, changed_turn(frames, row))).abs().amax(1) > 1e-6
    assert differs.tolist() == [turn >= 6 for turn in range(U)]
    differs = (logits(none, frames) - logits(none, changed_turn(frames, row))).abs().amax(1) > 1e-6
    assert differs.nonzero().tolist() == [[row]]


@pytest.mark.parametrize("context", ["past", "both", "none"])
def test_a_dialog_alone_equals_the_dialog_in_a_batch(context: str) -> None:
    frames, model = turns(), network(context=context)
    together = logits(model, frames).split(COUNTS)
    first = 0
    for count, expected in zip(COUNTS, together, strict=True):
        alone = logits(model, part(frames, range(first, first + count)), [count])
        torch.testing.assert_close(alone, expected, atol=1e-5, rtol=0)
        first += count
    order = [*range(6, 15), *range(5), 5]
    reordered = logits(model, part(frames, order), (9, 5, 1))
    torch.testing.assert_close(reordered, logits(model, frames)[order], atol=1e-5, rtol=0)


@pytest.mark.parametrize("garbage", [1e3, float("nan")])
def test_a_missing_vector_is_never_read(garbage: float) -> None:
    frames, model = turns(), network()
    filled = {
        name: Frames(stream.values.masked_fill(~stream.valid[..., None], garbage), stream.valid)
        for name, stream in frames.items()
    }
    torch.testing.assert_close(logits(model, filled), logits(model, frames))


@pytest.mark.parametrize("context", ["past", "both", "none"])
@pytest.mark.parametrize("counts", [COUNTS, (1,)])
def test_all_parameters_have_finite_gradients(context: str, counts: Sequence[int]) -> None:
    model = network(context=context).train()
    frames = part(turns(), range(sum(counts)))
    model(frames, counts).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        unused = "placeholder" in name or "hh" in name  # if no vector is missing, or for a single turn
        assert unused or parameter.grad.abs().sum() > 0, name


def test_other_streams_are_other_inputs() -> None:
    model = network(frame_shapes={"text": (6,)})
    assert logits(model, {"text": turns()["audio"]}).shape == (U, 3)
