"""Tests of targets: their rows, tables and warnings, and the check of options."""

from pathlib import Path

import pytest
import torch

from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import TrainingError, UsageError
from foal.shared.utterance import Utterance
from foal.train.targets.columns import (
    Targets,
    check_training_ratings,
    rating_rows,
    read_targets,
    soft_classes,
    soft_labelled,
    target_warnings,
)
from foal.train.targets.options import check_asked_losses

FEATS = Path("feats.h5")
RATED = TrainSettings(target=("valence", "arousal"))
UTTERANCES = [
    Utterance(id="a", label="x", valence=2.0, arousal=1.0, shares=(("x", 3.0), ("y", 1.0))),
    Utterance(id="b", arousal=4.0, shares=(("y", 0.2), ("x", 0.2))),
    Utterance(id="c", label="y", shares=(("x", 1.0),)),
    Utterance(id="d", label="y"),
    Utterance(id="e"),
]


def test_rows_have_a_rating_of_any_dimension() -> None:
    assert rating_rows(FEATS, RATED, UTTERANCES) == [0, 1]
    targets = read_targets(RATED, UTTERANCES[:2], ())
    assert targets.ratings is not None
    torch.testing.assert_close(targets.ratings, torch.tensor([[2.0, 1.0], [float("nan"), 4.0]]), equal_nan=True)
    assert targets.shares is None
    assert target_warnings(RATED, UTTERANCES[:2], 3)[0].startswith("3 of 5 utterances left out")


def test_the_label_is_the_column_or_else_the_largest_share() -> None:
    assert [u.label for u in soft_labelled(UTTERANCES, ("x", "y"))] == ["x", "x", "y", "y", ""]


def test_shares_are_normalized_and_a_label_stands_in_for_none() -> None:
    targets = read_targets(TrainSettings(target=("soft",)), UTTERANCES[:4], ("x", "y"))
    assert targets.shares is not None
    torch.testing.assert_close(targets.shares, torch.tensor([[0.75, 0.25], [0.5, 0.5], [1, 0], [0, 1]]))


def test_classes_are_the_given_ones_the_labels_or_the_columns() -> None:
    assert soft_classes(FEATS, None, UTTERANCES) == ("x", "y")
    assert soft_classes(FEATS, ["y", "x"], UTTERANCES) == ("y", "x")
    assert soft_classes(FEATS, None, UTTERANCES[1:2]) == ("x", "y")
    with pytest.raises(TrainingError, match="label_y"):
        soft_classes(FEATS, ["x", "z"], UTTERANCES[:1])


def test_the_columns_of_a_batch_are_those_of_its_rows() -> None:
    targets = Targets(dimensions=("valence",), ratings=torch.tensor([[1.0], [2.0], [3.0]]))
    columns = targets.of(torch.tensor([2, 0]), torch.device("cpu"))
    assert columns["shares"] is None
    assert columns["ratings"] is not None
    assert columns["ratings"].tolist() == [[3.0], [1.0]]


def test_a_training_group_needs_different_ratings() -> None:
    targets = Targets(dimensions=("valence",), ratings=torch.tensor([[1.0], [1.0], [3.0], [float("nan")]]))
    check_training_ratings(targets, [("fold 1", torch.tensor([0, 2]))])
    with pytest.raises(TrainingError, match=r"fold 2: .*column valence.*got only 1"):
        check_training_ratings(targets, [("fold 2", torch.tensor([0, 1]))])
    with pytest.raises(TrainingError, match=r"fold 3: .*got none"):
        check_training_ratings(targets, [("fold 3", torch.tensor([3]))])


def test_a_loss_of_classes_cannot_be_asked_for_without_classes() -> None:
    check_asked_losses(RATED, frozenset({"train.target"}))
    check_asked_losses(TrainSettings(target=("label", "valence")), frozenset({"train.avel"}))
    check_asked_losses(TrainSettings(target=("valence",), mem=False), frozenset({"train.mem"}))
    with pytest.raises(UsageError, match=r"MEM compares classes, but train.target is valence, arousal"):
        check_asked_losses(RATED, frozenset({"train.mem"}))
