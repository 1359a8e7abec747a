"""What every head over dialogs promises: causality, independence of the batch, missing vectors, gradients, files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from foal.shared.config.fusion_settings import DIALOG_HEADS
from foal.train.data.sequences import Frames
from foal.train.model.architecture import Architecture
from foal.train.model.checkpoint import load_model, save_model
from foal.train.model.dialogs.net import DialogNet, build_dialog_net
from foal.train.model.dialogs.registry import TURN_ENCODERS
from foal.train.model.fusion.base import Supervision

COUNTS = (5, 1, 9)
U = sum(COUNTS)
SPEAKERS = torch.tensor([0, 1, 0, 0, 1, 0, 0, 1, 2, 1, 0, 0, 2, 1, 1])
WIDTHS = {"audio": (6,), "face": (4,), "text": (5,), "face/other": (3,)}
SMALL = Architecture(
    frame_shapes={name: WIDTHS[name] for name in ("audio", "face")},
    classes=3,
    width=16,
    heads=4,
    layers=1,
    dropout=0.0,
    projection_dropout=0.0,
    skip=True,
    fusion="dialog-gru",
)

heads = pytest.mark.parametrize("fusion", TURN_ENCODERS)


def network(fusion: str, **changes: object) -> DialogNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_dialog_net(replace(SMALL, fusion=fusion, **changes)).eval()  # type: ignore[arg-type]
        for parameter in model.parameters():  # the linear path begins with zeros
            torch.nn.init.normal_(parameter, std=0.5)
    return model


def turns(names: Sequence[str] = ("audio", "face"), seed: int = 0) -> dict[str, Frames]:
    rng = torch.Generator().manual_seed(seed)
    return {
        name: Frames(torch.randn(U, 1, *WIDTHS[name], generator=rng), torch.rand(U, 1, generator=rng) < 0.8)
        for name in names
    }


def part(frames: Mapping[str, Frames], rows: Sequence[int]) -> dict[str, Frames]:
    return {name: Frames(stream.values[rows], stream.valid[rows]) for name, stream in frames.items()}


@torch.no_grad()
def logits(
    model: DialogNet, frames: Mapping[str, Frames], counts: Sequence[int] = COUNTS, speakers: Tensor = SPEAKERS
) -> Tensor:
    result: Tensor = model(frames, counts, speakers)
    return result


def changed_turn(frames: Mapping[str, Frames], row: int) -> dict[str, Frames]:
    changed = {}
    for name, stream in frames.items():
        values = stream.values.clone()
        values[row] += 10.0
        changed[name] = Frames(values, stream.valid.clone().index_fill_(0, torch.tensor([row]), True))
    return changed


def test_every_head_over_dialogs_has_options_and_an_encoder() -> None:
    assert tuple(TURN_ENCODERS) == DIALOG_HEADS


@heads
@pytest.mark.parametrize("row", [1, 4, 8, 14])
def test_a_later_turn_changes_no_earlier_output_with_past(fusion: str, row: int) -> None:
    frames, model = turns(), network(fusion, context="past")
    before, after = logits(model, frames), logits(model, changed_turn(frames, row))
    differs = (before - after).abs().amax(1) > 1e-6
    end = next(sum(COUNTS[: number + 1]) for number in range(3) if row < sum(COUNTS[: number + 1]))
    assert differs.tolist() == [row <= turn < end for turn in range(U)]


@heads
def test_a_later_speaker_changes_no_earlier_output_with_past(fusion: str) -> None:
    frames, model = turns(), network(fusion, context="past")
    other = SPEAKERS.clone()
    other[10] = 1 - other[10]
    assert torch.equal(logits(model, frames)[:10], logits(model, frames, speakers=other)[:10])


@heads
def test_the_future_is_read_with_both_and_nothing_with_none(fusion: str) -> None:
    frames, row = turns(), 8  # the third turn of the third dialog
    both, none = network(fusion, context="both"), network(fusion, context="none")
    differs = (logits(both, frames) - logits(both, changed_turn(frames, row))).abs().amax(1) > 1e-6
    assert differs.tolist() == [turn >= 6 for turn in range(U)]
    differs = (logits(none, frames) - logits(none, changed_turn(frames, row))).abs().amax(1) > 1e-6
    assert differs.nonzero().tolist() == [[row]]
    assert torch.equal(logits(none, frames), logits(none, frames, speakers=torch.zeros_like(SPEAKERS)))


@heads
@pytest.mark.parametrize("context", ["past", "both", "none"])
def test_a_dialog_alone_equals_the_dialog_in_a_batch_and_their_order_is_free(fusion: str, context: str) -> None:
    frames, model = turns(), network(fusion, context=context)
    together = logits(model, frames).split(COUNTS)
    first = 0
    for count, expected in zip(COUNTS, together, strict=True):
        rows = range(first, first + count)
        alone = logits(model, part(frames, rows), [count], SPEAKERS[rows])
        torch.testing.assert_close(alone, expected, atol=1e-5, rtol=0)
        first += count
    order = [*range(6, 15), *range(5), 5]
    reordered = logits(model, part(frames, order), (9, 5, 1), SPEAKERS[order])
    torch.testing.assert_close(reordered, logits(model, frames)[order], atol=1e-5, rtol=0)


@heads
@pytest.mark.parametrize("garbage", [1e3, float("nan")])
def test_a_missing_vector_is_never_read(fusion: str, garbage: float) -> None:
    frames, model = turns(), network(fusion)
    filled = {
        name: Frames(stream.values.masked_fill(~stream.valid[..., None], garbage), stream.valid)
        for name, stream in frames.items()
    }
    torch.testing.assert_close(logits(model, filled), logits(model, frames))


@heads
@pytest.mark.parametrize("missing", [("audio",), ("face",), ("audio", "face")])
@pytest.mark.parametrize("context", ["past", "both"])
def test_a_dialog_without_a_modality_is_finite(fusion: str, missing: tuple[str, ...], context: str) -> None:
    model = network(fusion, context=context).train()
    frames = {name: Frames(stream.values, stream.valid & (name not in missing)) for name, stream in turns().items()}
    result = model(frames, COUNTS, SPEAKERS)
    result.square().sum().backward()
    assert result.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@heads
@pytest.mark.parametrize("context", ["past", "both", "none"])
@pytest.mark.parametrize("counts", [COUNTS, (1,)])
def test_all_parameters_have_finite_gradients(fusion: str, context: str, counts: Sequence[int]) -> None:
    model = network(fusion, context=context).train()
    rows = range(sum(counts))
    model(part(turns(), rows), counts, SPEAKERS[rows]).square().sum().backward()
    # A bias of the keys shifts all scores of a row alike. A single turn has one key, and no turn before it.
    unused = ["placeholder", "key.bias"]
    if context == "none" or counts == (1,):
        unused += ["hh", "query", "key", "edge"]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert any(word in name for word in unused) or parameter.grad.abs().sum() > 0, name


@heads
@pytest.mark.parametrize("names", [("text",), ("audio", "face", "text"), ("face", "face/other")])
def test_any_set_of_streams_is_read(fusion: str, names: tuple[str, ...]) -> None:
    frames = turns(names)
    model = network(fusion, frame_shapes={name: WIDTHS[name] for name in names})
    before = logits(model, frames)
    assert before.shape == (U, 3)
    for name in names:  # every stream of an earlier turn is read
        changed = {**frames, name: changed_turn(frames, 6)[name]}
        assert (logits(model, changed)[7:] - before[7:]).abs().max() > 1e-6, name


@heads
def test_a_checkpoint_gives_the_same_network(fusion: str, tmp_path: Path) -> None:
    model = network(fusion, context="both")
    save_model(tmp_path / "model", model, {})
    loaded, _ = load_model(tmp_path / "model")
    assert isinstance(loaded, DialogNet)
    assert loaded.architecture == model.architecture
    assert torch.equal(logits(loaded, turns()), logits(model, turns()))


@heads
@pytest.mark.parametrize("size", [1, U])
def test_own_losses_are_finite_in_batches_of_one_turn_or_class(fusion: str, size: int) -> None:
    options = {"triplet": 1.0} if fusion == "m2fnet" else {}
    model = network(fusion, fusion_options=options).train()
    projected = model.project(part(turns(), range(size)))
    encoded = model.encode(projected, [size], SPEAKERS[:size])
    for labels in (torch.zeros(size, dtype=torch.long), torch.full((size,), -1)):
        losses = model.encoder.extra_losses(*encoded, Supervision(labels, torch.arange(size)))
        assert all(value.item() == 0 for value in losses.values())
        (encoded.vectors.sum() + sum(losses.values())).backward(retain_graph=True)
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
