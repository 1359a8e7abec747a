"""Leakage: nothing outside the training part of a fold changes what is trained, in the protocols without the script."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from foal.shared.config.train_settings import Protocol, TrainSettings
from foal.tests.train.folds.scene_corpus import LABELS, scene_corpus
from foal.train.data.dataset import Dataset
from foal.train.data.features import InMemory
from foal.train.data.protocol import Fold, build_cross_validation
from foal.train.fit.baselines import Baseline, fit_baseline
from foal.train.fit.loop import train_fold
from foal.train.floor.folds import script_floor

SMALL = TrainSettings(width=8, heads=1, layers=0, epochs=1, batch_size=32)
CPU = torch.device("cpu")
UTTERANCES = scene_corpus(4, turns=3)
N = len(UTTERANCES)


@pytest.fixture
def data(make_dataset: Callable[..., Dataset]) -> Dataset:
    """Four sessions of six scenes; features that depend on nothing."""
    labels = [LABELS.index(u.label) for u in UTTERANCES]
    return replace(make_dataset(N, labels=labels), utterances=tuple(UTTERANCES))


def poisoned(data: Dataset, rows: Sequence[int], *, features: bool) -> Dataset:
    """Other labels, and with `features` other features, of some rows."""
    labels = data.labels.clone()
    labels[list(rows)] = (labels[list(rows)] + 1) % len(data.classes)
    assert isinstance(data.features, InMemory)
    streams = {}
    for name, stream in data.features.streams.items():
        values = stream.values.clone()
        for row in rows if features else ():
            values[stream.starts[row] : stream.starts[row] + stream.lengths[row]] = 1e3
        streams[name] = replace(stream, values=values)
    return replace(data, labels=labels, features=InMemory(streams))


def outside(fold: Fold, training: torch.Tensor, *, test: bool) -> list[int]:
    """The rows that are not trained on, with or without the test rows."""
    left = set(range(N)) - set(training.tolist())
    return sorted(left if test else left - set(fold.test_rows.tolist()))


def folds_of(protocol: Protocol, scene_groups: int | None) -> list[Fold]:
    cv = build_cross_validation(UTTERANCES, protocol, [u.speaker for u in UTTERANCES], scene_groups=scene_groups)
    return [cv.folds[0], cv.folds[-1]]


CASES: list[tuple[Protocol, int | None]] = [
    ("loso-scenes-nested", None),
    ("loso-scenes-nested", 3),
    ("erc-split", None),
]


@pytest.mark.parametrize(("protocol", "scene_groups"), CASES)
@pytest.mark.parametrize("changes", [{}, {"select": "ua", "refit": True}, {"select": "ua", "refit": False}], ids=str)
def test_what_is_outside_the_training_part_changes_no_network(
    data: Dataset, protocol: Protocol, scene_groups: int | None, changes: dict[str, Any]
) -> None:
    settings = SMALL.model_copy(update=changes)
    for fold in folds_of(protocol, scene_groups):
        # The choice of the epoch reads the development rows, too.
        training = fold.refit_rows if settings.refit else torch.cat([fold.train_rows, fold.dev_rows])
        rows = outside(fold, training, test=True)
        assert set(fold.test_rows.tolist()) <= set(rows)
        assert protocol == "erc-split" or len(rows) > len(fold.test_rows)
        first = train_fold(data, fold, settings, seed=0, device=CPU)
        other = train_fold(poisoned(data, rows, features=True), fold, settings, seed=0, device=CPU)
        assert first.history == other.history
        for name, value in first.model.state_dict().items():
            assert torch.equal(value, other.model.state_dict()[name])
        # The test can fail: a training label changes the network.
        used = fold.refit_rows[:4] if settings.refit else fold.train_rows[:4]
        changed = train_fold(poisoned(data, used.tolist(), features=False), fold, settings, seed=0, device=CPU)
        assert any(not torch.equal(v, changed.model.state_dict()[k]) for k, v in first.model.state_dict().items())


@pytest.mark.parametrize(("protocol", "scene_groups"), CASES)
@pytest.mark.parametrize("refit", [True, False])
def test_what_is_outside_the_training_part_changes_no_baseline(
    data: Dataset, protocol: Protocol, scene_groups: int | None, refit: bool
) -> None:
    for fold in folds_of(protocol, scene_groups):
        training = fold.refit_rows if refit else torch.cat([fold.train_rows, fold.dev_rows])
        other = poisoned(data, outside(fold, training, test=False), features=True)
        other = poisoned(other, fold.test_rows.tolist(), features=False)
        expected, found = (fit_baseline(each, fold, Baseline(), refit=refit, seed=0) for each in (data, other))
        assert np.array_equal(expected, found)


@pytest.mark.parametrize("protocol", ["loso-nested", "loso-reference", "loso-scenes-nested", "erc-split"])
def test_labels_outside_the_training_part_change_no_script_floor(data: Dataset, protocol: Protocol) -> None:
    folds = build_cross_validation(UTTERANCES, protocol, data.speakers)
    floor = script_floor(data, folds)
    assert floor is not None
    for position, fold in enumerate(folds.folds):
        training = fold.train_rows if fold.dev_is_test else fold.refit_rows
        other = script_floor(poisoned(data, outside(fold, training, test=True), features=False), folds)
        assert other is not None
        assert floor.bandwidths[position] == other.bandwidths[position]
        for level, predicted in floor.predicted.items():
            assert np.array_equal(predicted[fold.test_rows], other.predicted[level][fold.test_rows])
