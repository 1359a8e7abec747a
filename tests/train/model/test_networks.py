"""The networks by name: what is built, and the loss of a dialog head."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F  # noqa: N812  (its usual name)

from foal.shared.errors import TrainingError
from foal.tests.train.dialogs.dialog_corpus import dialog_dataset
from foal.train.data.dataset import Dataset
from foal.train.dialogs.batches import dialog_batch
from foal.train.model.architecture import Architecture
from foal.train.model.dialogs.net import DialogNet
from foal.train.model.foalnet import FoalNet
from foal.train.model.networks import build_network, logits_of, losses_of
from foal.train.model.objective import LossConfig

SMALL = Architecture(
    frame_shapes={"audio": (6,), "face": (4,)},
    classes=2,
    width=8,
    heads=2,
    layers=1,
    dropout=0.0,
    projection_dropout=0.0,
)
NO_LOSSES = LossConfig(avel=None, mem=None)


def test_the_name_chooses_the_network() -> None:
    assert isinstance(build_network(SMALL), FoalNet)
    assert isinstance(build_network(replace(SMALL, fusion="dialog-gru")), DialogNet)
    with pytest.raises(TrainingError, match=r"expected a fusion of .*, got 'sum'"):
        build_network(replace(SMALL, fusion="sum"))


def test_the_loss_of_dialogs_is_the_weighted_cross_entropy_of_labelled_turns() -> None:
    data, rng = dialog_dataset(), torch.Generator()
    rows, weights = torch.arange(len(data)), torch.tensor([0.5, 2.0])
    batch = dialog_batch(data, data.dialogs, rows, torch.device("cpu"), weights)
    network = build_network(replace(SMALL, fusion="dialog-gru"))
    losses = losses_of(network, batch, NO_LOSSES, rng)
    scored = batch.scored
    each = F.cross_entropy(logits_of(network, batch)[scored], batch.labels[scored], reduction="none")
    torch.testing.assert_close(losses.total, (each * weights[batch.labels[scored]]).mean())
    assert (float(losses.avel), float(losses.mem)) == (0, 0)
    # Turns outside of the part count neither as errors nor as turns.
    half = dialog_batch(data, data.dialogs, rows[::2], torch.device("cpu"), weights)
    kept = torch.isin(batch.rows[scored], rows[::2])
    expected = (each * weights[batch.labels[scored]])[kept].mean()
    torch.testing.assert_close(losses_of(network, half, NO_LOSSES, rng).total, expected)


def test_the_losses_of_a_dialog_head_are_added_and_reported() -> None:
    data = dialog_dataset()
    batch = dialog_batch(data, data.dialogs, torch.arange(len(data)), torch.device("cpu"), torch.ones(2))
    network = build_network(replace(SMALL, fusion="m2fnet", fusion_options={"heads": 2, "triplet": 0.5}))
    losses = losses_of(network, batch, NO_LOSSES, torch.Generator())
    assert losses.fusion > 0
    torch.testing.assert_close(losses.total, losses.classes + losses.fusion)


def test_the_loss_of_utterances_is_that_of_foal_net(
    make_dataset: Callable[..., Dataset], batch_of: Callable[..., object]
) -> None:
    data = make_dataset(8)
    network = build_network(replace(SMALL, frame_shapes=data.features.frame_shapes, classes=3))
    batch = batch_of(data, torch.arange(8))
    losses = losses_of(network, batch, NO_LOSSES, torch.Generator())  # type: ignore[arg-type]
    logits = logits_of(network, batch)  # type: ignore[arg-type]
    torch.testing.assert_close(losses.total, F.cross_entropy(logits, data.labels))
