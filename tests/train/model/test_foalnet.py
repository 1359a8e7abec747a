from collections.abc import Callable

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor, nn

from foal.shared.errors import TrainingError
from foal.train.data.dataset import Dataset
from foal.train.data.sequences import Batch, Frames
from foal.train.model.foalnet import Architecture, FoalNet, build_model
from foal.train.model.pooling import masked_mean

Make = Callable[..., Dataset]
MakeModel = Callable[..., FoalNet]
BatchOf = Callable[[Dataset, Tensor], Batch]


def padded(frames: Frames, count: int, garbage: float) -> Frames:
    values, valid, _ = frames
    padding = torch.full((len(values), count, *values.shape[2:]), garbage)
    return Frames(torch.cat([values, padding], 1), torch.cat([valid, valid.new_zeros(len(valid), count)], 1))


def test_normal_initialization_has_a_deviation_of_002_and_zero_biases(
    make_dataset: Make, make_model: MakeModel
) -> None:
    model = make_model(make_dataset(), initialization="normal", skip=True, width=64)
    assert model.skip is not None
    linear = [module for module in model.modules() if isinstance(module, nn.Linear) and module is not model.skip.linear]
    weights = torch.cat([module.weight.flatten() for module in linear])
    assert weights.std().item() == pytest.approx(0.02, rel=0.05)
    assert weights.mean().item() == pytest.approx(0, abs=1e-3)
    assert all((module.bias == 0).all() for module in linear if module.bias is not None)
    assert (model.skip.linear.weight == 0).all()


@pytest.mark.parametrize("garbage", [0.0, 6e4, float("nan")])
def test_padding_does_not_change_the_logits(
    make_dataset: Make, make_model: MakeModel, garbage: float, batch_of: BatchOf
) -> None:
    data = make_dataset()
    model = make_model(data)
    frames = batch_of(data, torch.arange(24)).frames
    with torch.no_grad():
        expected = model(frames)
        actual = model({name: padded(stream, 7, garbage) for name, stream in frames.items()})
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_logits_of_a_batch_equal_those_of_single_utterances(
    make_dataset: Make, make_model: MakeModel, batch_of: BatchOf
) -> None:
    data = make_dataset()
    model = make_model(data)
    with torch.no_grad():
        batched = model(batch_of(data, torch.arange(24)).frames)
        single = torch.cat([model(batch_of(data, torch.tensor([row])).frames) for row in range(24)])
    torch.testing.assert_close(batched, single, atol=1e-5, rtol=1e-5)


def test_invalid_frames_do_not_change_the_logits(make_dataset: Make, make_model: MakeModel, batch_of: BatchOf) -> None:
    data = make_dataset()
    model = make_model(data)
    frames = dict(batch_of(data, torch.arange(24)).frames)
    values, valid, _ = frames["face"]
    assert not valid.all()
    with torch.no_grad():
        expected = model(frames)
        actual = model({**frames, "face": Frames(torch.where(valid[..., None], values, 5e4), valid)})
    assert torch.equal(actual, expected)


def test_without_a_valid_face_the_face_values_have_no_effect(
    make_dataset: Make, make_model: MakeModel, batch_of: BatchOf
) -> None:
    data = make_dataset()
    model = make_model(data)
    frames = dict(batch_of(data, torch.arange(24)).frames)
    values, valid, _ = frames["face"]
    no_valid_frame = torch.zeros_like(valid)
    with torch.no_grad():
        expected = model({**frames, "face": Frames(values, no_valid_frame)})
        actual = model({**frames, "face": Frames(values.flip(0), no_valid_frame)})
        assert not torch.allclose(expected, model(frames))
    assert torch.equal(expected, actual)
    assert torch.isfinite(expected).all()


def test_partners_select_the_row_of_the_other_modality(
    make_dataset: Make, make_model: MakeModel, batch_of: BatchOf
) -> None:
    data = make_dataset()
    model = make_model(data)
    frames = batch_of(data, torch.arange(6)).frames
    partners = torch.tensor([[0, 1, 2, 3, 4, 5], [3, 3, 0, 1, 2, 4]])
    with torch.no_grad():
        projected = model.project(frames)
        pooled = model.fuse(projected, {("audio", "face"): partners, ("face", "audio"): partners.flip(0)})
        own = model.fuse(projected)
        # The audio of every row, fused with the face of its partner in place of its own.
        values, valid, _ = frames["face"]
        swapped = model.fuse(model.project({**frames, "face": Frames(values[partners[1]], valid[partners[1]])}))
    audio, face = pooled.pairs["audio", "face"], pooled.pairs["face", "audio"]
    assert audio.shape == (2, 6, 16)
    torch.testing.assert_close(audio[0], own.own["audio"])
    torch.testing.assert_close(audio[1], swapped.own["audio"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(face[1], own.own["face"])


def test_one_modality_attends_to_itself(make_dataset: Make, make_model: MakeModel, batch_of: BatchOf) -> None:
    both = make_dataset()
    data = both.select(["audio"])
    model = make_model(data)
    assert model.alignment is None
    assert len(model.match_heads) == 0
    assert model.directions == (("audio", "audio"),)
    assert model(batch_of(data, torch.arange(5)).frames).shape == (5, 3)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(TrainingError, match="expected a width that 5 heads divide, got 16"):
        build_model(
            Architecture(
                frame_shapes={"audio": (3,)},
                classes=2,
                width=16,
                heads=5,
                layers=1,
                dropout=0.0,
                projection_dropout=0.0,
            )
        )


def test_wrong_shapes_are_refused(make_dataset: Make, make_model: MakeModel, batch_of: BatchOf) -> None:
    data = make_dataset()
    model = make_model(data)
    projected = model.project(batch_of(data, torch.arange(6)).frames)
    with pytest.raises(TypeCheckError):
        model.fuse(projected, dict.fromkeys(model.directions, torch.arange(6)))  # k is missing
    pooled = {reader: pair for (reader, _), pair in model.fuse(projected).pairs.items()}
    with pytest.raises(TypeCheckError):
        model.classify(pooled, projected)  # k must be absent
    with pytest.raises(TypeCheckError):
        masked_mean(projected["audio"].values, projected["face"].valid[:5])
