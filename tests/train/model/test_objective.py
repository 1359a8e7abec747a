from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from foal.train.data.dataset import Dataset
from foal.train.data.features import InMemory
from foal.train.data.sequences import Batch, Frames, PackedSequences
from foal.train.model.foalnet import FoalNet
from foal.train.model.losses import avel_loss
from foal.train.model.objective import LossConfig, Losses, draw_pairs, objective

Make = Callable[..., Dataset]
MakeModel = Callable[..., FoalNet]
BatchOf = Callable[[Dataset, Tensor], Batch]

TERMS = LossConfig(avel=1.0, mem=0.1)


def losses_of(model: FoalNet, batch: Batch, *, avel: float | None = 1.0, mem: float | None = 0.1) -> Losses:
    rng = torch.Generator().manual_seed(0)
    return objective(model, batch, LossConfig(avel=avel, mem=mem), rng)


def without_face(batch: Batch, rows: slice) -> Batch:
    values, valid, _ = batch.frames["face"]
    valid = valid.clone()
    valid[rows] = False
    return replace(batch, frames={**batch.frames, "face": Frames(values, valid)})


def test_gradients_reach_every_parameter(make_dataset: Make, make_model: MakeModel, batch_of: BatchOf) -> None:
    data = make_dataset()
    batch = batch_of(data, torch.arange(12))
    values, valid, _ = batch.frames["audio"]
    batch = without_face(batch, slice(0, 2))  # so that both placeholders are used
    audio_valid = valid & (torch.arange(12) != 5)[:, None]
    batch = replace(batch, frames={**batch.frames, "audio": Frames(values, audio_valid)})
    model = make_model(data)
    losses_of(model, batch).total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_a_batch_of_one_class_has_no_matching_loss_but_a_gradient(
    make_dataset: Make, make_model: MakeModel, batch_of: BatchOf
) -> None:
    data = make_dataset()
    model = make_model(data)
    losses = losses_of(model, batch_of(data, torch.arange(0, 24, 3)))
    assert losses.mem.item() == 0
    losses.mem.backward()
    assert model.matcher is not None
    weights = [parameter for name, parameter in model.matcher.named_parameters() if name.endswith("weight")]
    assert len(weights) == 2
    for weight in weights:
        assert weight.grad is not None
        assert torch.equal(weight.grad, torch.zeros_like(weight))


@pytest.mark.parametrize("rows", [slice(0, 1), slice(0, 6)])
def test_batches_without_faces_have_no_auxiliary_losses_and_finite_gradients(
    make_dataset: Make, make_model: MakeModel, rows: slice, batch_of: BatchOf
) -> None:
    data = make_dataset()
    model = make_model(data)
    losses = losses_of(model, without_face(batch_of(data, torch.arange(24)[rows]), slice(None)))
    assert losses.avel.item() == losses.mem.item() == 0
    losses.total.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_utterances_without_a_modality_are_excluded_from_alignment_and_matching(
    make_dataset: Make, make_model: MakeModel, batch_of: BatchOf
) -> None:
    data = make_dataset()
    model = make_model(data)
    batch = without_face(batch_of(data, torch.arange(12)), slice(9, 12))
    with torch.no_grad():
        projected = model.project(batch.frames)
        similarities = model.alignment(projected["audio"], projected["face"])  # type: ignore[misc]
        pairs = draw_pairs(
            similarities, projected["audio"], projected["face"], batch, TERMS, torch.Generator().manual_seed(1)
        )
        losses = losses_of(model, batch)
    assert not pairs.counted[:, 9:].any()
    assert pairs.counted[:2, :9].all()
    expected = avel_loss(similarities[:9, :9], batch.labels[:9], torch.ones(9, dtype=torch.bool))
    assert losses.avel.item() == pytest.approx(expected.item(), abs=1e-6)


def test_pairs_match_exactly_if_their_labels_are_equal(
    make_dataset: Make, make_model: MakeModel, batch_of: BatchOf
) -> None:
    data = make_dataset(48)
    batch = batch_of(data, torch.tensor([*range(16), 0, 1]))
    projected = make_model(data).project(batch.frames)
    pairs = draw_pairs(
        torch.randn(18, 18, generator=torch.Generator().manual_seed(0)),
        projected["audio"],
        projected["face"],
        batch,
        TERMS,
        torch.Generator().manual_seed(2),
    )
    assert pairs.counted.any(1).all()
    for partners in (pairs.first, pairs.second):
        same_label = batch.labels[partners] == batch.labels
        assert torch.equal(same_label[pairs.counted], pairs.matches[pairs.counted])
        assert (batch.rows[partners[2]] != batch.rows)[pairs.counted[2]].all()  # another utterance, not its copy


def test_hard_negatives_are_drawn_for_each_modality(
    make_dataset: Make, make_model: MakeModel, batch_of: BatchOf
) -> None:
    data = make_dataset()
    batch = batch_of(data, torch.arange(6))  # of the classes 0, 1, 2, 0, 1, 2
    projected = make_model(data).project(batch.frames)
    hardest = torch.tensor([1, 2, 3, 4, 5, 0])  # the face most similar to each audio, of another class
    similarities = 90.0 * torch.eye(6)[hardest] + 60.0 * torch.eye(6)
    pairs = draw_pairs(
        similarities, projected["audio"], projected["face"], batch, TERMS, torch.Generator().manual_seed(0)
    )
    own = torch.arange(6)
    assert torch.equal(pairs.first[:2], torch.stack([own, hardest]))
    assert torch.equal(pairs.second[:2], torch.stack([own, hardest.argsort()]))


def test_results_do_not_depend_on_the_order_in_the_batch(
    make_dataset: Make, make_model: MakeModel, batch_of: BatchOf
) -> None:
    data = make_dataset()
    model = make_model(data)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        logits = model(batch_of(data, torch.arange(24)).frames)
        shuffled = model(batch_of(data, order).frames)
        losses = losses_of(model, batch_of(data, torch.arange(24)), mem=None)
        losses_shuffled = losses_of(model, batch_of(data, order), mem=None)
    torch.testing.assert_close(shuffled, logits[order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(losses_shuffled.total, losses.total, atol=1e-5, rtol=1e-5)


def test_disabled_losses_are_zero_and_the_others_unchanged(
    make_dataset: Make, make_model: MakeModel, batch_of: BatchOf
) -> None:
    data = make_dataset()
    model = make_model(data)
    batch = batch_of(data, torch.arange(12))
    classes_only = losses_of(model, batch, avel=None, mem=None)
    assert classes_only.avel.item() == classes_only.mem.item() == 0
    assert classes_only.total.item() == classes_only.classes.item()

    with_mem = losses_of(model, batch, avel=None)
    assert with_mem.avel.item() == 0
    assert with_mem.mem.item() > 0  # its negatives are still drawn by similarity
    assert with_mem.classes.item() == pytest.approx(classes_only.classes.item(), abs=1e-6)
    with_mem.total.backward()
    assert model.alignment is not None
    assert model.alignment.log_scale.grad is None

    complete = losses_of(model, batch, avel=0.5, mem=2.0)
    assert complete.total.item() == pytest.approx(
        (complete.classes + 0.5 * complete.avel + 2 * complete.mem).item(), abs=1e-6
    )


def test_one_modality_has_no_auxiliary_losses(make_dataset: Make, make_model: MakeModel, batch_of: BatchOf) -> None:
    both = make_dataset()
    data = both.select(["face"])
    losses = losses_of(make_model(data), batch_of(data, torch.arange(12)))
    losses.total.backward()
    assert losses.avel.item() == losses.mem.item() == 0
    assert losses.total.item() == losses.classes.item()


def test_the_logit_scale_is_clamped_to_100(make_dataset: Make, make_model: MakeModel) -> None:
    alignment = make_model(make_dataset()).alignment
    assert alignment is not None
    assert alignment.log_scale.exp().item() == pytest.approx(1 / 0.07, rel=1e-6)
    with torch.no_grad():
        alignment.log_scale.fill_(9.0)
    alignment.clamp_logit_scale()
    assert alignment.log_scale.exp().item() == pytest.approx(100, rel=1e-5)


def test_a_dataset_without_any_face_has_a_finite_loss(
    make_dataset: Make, make_model: MakeModel, make_stream: Callable[..., PackedSequences], batch_of: BatchOf
) -> None:
    both = make_dataset()
    assert isinstance(both.features, InMemory)
    without_faces = {**both.features.streams, "face": make_stream([torch.zeros(0, 4)] * 24)}
    data = replace(both, features=InMemory(without_faces))
    losses = losses_of(make_model(data), batch_of(data, torch.arange(6)))
    losses.total.backward()
    assert torch.isfinite(losses.total)
