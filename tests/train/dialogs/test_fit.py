"""A fit of the dialog head: what it learns from other turns, and what it never reads."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from foal.shared.config.train_settings import TrainSettings
from foal.tests.train.dialogs.dialog_corpus import dialog_dataset
from foal.train.data.dataset import Dataset
from foal.train.data.features import InMemory
from foal.train.data.protocol import Fold, cross_validation_of
from foal.train.dialogs.batches import dialogs_of
from foal.train.fit import snapshot
from foal.train.fit.history import Epoch
from foal.train.fit.loop import TrainedFold, train_fold
from foal.train.fit.predict import predict
from foal.train.model.layers import Projection

CPU = torch.device("cpu")
SETTINGS = TrainSettings(fusion="dialog-gru", width=16, epochs=15, learning_rate=1e-2, refit=False)


def fold_of(data: Dataset) -> Fold:
    return cross_validation_of(SETTINGS, data.utterances, data.speakers).folds[0]


def fit(data: Dataset, **changes: Any) -> TrainedFold:
    return train_fold(data, fold_of(data), SETTINGS.model_copy(update=changes), seed=0, device=CPU)


def accuracy(data: Dataset, **changes: Any) -> float:
    rows = fold_of(data).test_rows
    probabilities = predict(fit(data, **changes).model, data, rows, device=CPU)
    return float((probabilities.argmax(1) == data.labels[rows]).float().mean())


def with_garbage(data: Dataset, rows: torch.Tensor, value: float) -> Dataset:
    """The dataset with other features in some rows."""
    assert isinstance(data.features, InMemory)
    streams = {
        name: replace(
            stream, values=stream.values.index_fill(0, rows, value), valid=stream.valid.index_fill(0, rows, True)
        )
        for name, stream in data.features.streams.items()
    }
    return replace(data, features=InMemory(streams))


def test_the_head_beats_the_same_head_without_context_where_the_turn_before_tells_the_class() -> None:
    data = dialog_dataset(60)
    with_context, without = accuracy(data, context="past"), accuracy(data, context="none")
    assert with_context > 0.8
    assert without < 0.65  # chance: 0.5


def test_features_of_other_parts_change_no_weight_and_those_of_the_own_context_do() -> None:
    data = dialog_dataset()
    fold = fold_of(data)
    own = torch.cat(dialogs_of(data, fold.train_rows))
    every = torch.arange(len(data.turn_labels))
    others = every[~torch.isin(every, own)]
    context = own[own >= len(data)]
    assert len(context)
    expected, same, changed = (
        fit(dataset, epochs=1).model.state_dict()
        for dataset in (data, with_garbage(data, others, 1e4), with_garbage(data, context, 3.0))
    )
    assert all(torch.equal(value, same[name]) for name, value in expected.items())
    assert not torch.equal(expected["classifier.weight"], changed["classifier.weight"])
    # The refit reads the development group, but not the test group.
    tested = torch.cat(dialogs_of(data, fold.test_rows))
    refitted, again = (
        fit(dataset, epochs=1, refit=True).model.state_dict() for dataset in (data, with_garbage(data, tested, 1e4))
    )
    assert all(torch.equal(value, again[name]) for name, value in refitted.items())
    assert not torch.equal(expected["classifier.weight"], refitted["classifier.weight"])


def test_vectors_are_standardized_with_all_turns_of_the_training_dialogs() -> None:
    data = dialog_dataset(missing_face=False)
    assert isinstance(data.features, InMemory)
    model = fit(data, epochs=1).model
    rows = torch.cat(dialogs_of(data, fold_of(data).train_rows))
    for name, stream in data.features.streams.items():
        projection = model.projections[name]
        assert isinstance(projection, Projection)
        torch.testing.assert_close(projection.mean, stream.values[rows].mean(0))


def test_labels_of_the_test_group_change_nothing() -> None:
    data = dialog_dataset()
    tested = fold_of(data).test_rows
    swapped = replace(data, labels=data.labels.index_copy(0, tested, 1 - data.labels[tested]))
    first, second = fit(data, epochs=2, refit=True), fit(swapped, epochs=2, refit=True)
    assert torch.equal(
        predict(first.model, data, tested, device=CPU), predict(second.model, swapped, tested, device=CPU)
    )


def test_predictions_of_some_rows_are_those_of_all_and_in_their_order() -> None:
    data = dialog_dataset()
    model = fit(data, epochs=1).model
    every = predict(model, data, torch.arange(len(data)), device=CPU)
    assert every.isfinite().all()
    rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:20]
    torch.testing.assert_close(predict(model, data, rows, device=CPU), every[rows], atol=1e-5, rtol=0)
    assert predict(model, data, rows[:0], device=CPU).shape == (0, 2)


def test_an_interrupted_fit_resumes_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MIN_SECONDS_BETWEEN", 0.0)
    data = dialog_dataset()
    settings = SETTINGS.model_copy(update={"epochs": 3})

    def interrupted(epoch: Epoch) -> None:
        if epoch.epoch == 3:
            raise KeyboardInterrupt

    def run(file: Path | None, progress: Callable[[Epoch], None]) -> TrainedFold:
        return train_fold(data, fold_of(data), settings, seed=0, device=CPU, progress=progress, snapshot=file)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "fit.state", interrupted)
    resumed = run(tmp_path / "fit.state", lambda epoch: None).model.state_dict()
    whole = run(None, lambda epoch: None).model.state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_training_with_a_lost_modality_is_finite() -> None:
    data = dialog_dataset()
    assert fit(data, epochs=1, modality_dropout=0.5).history[0].loss > 0
    assert fit(data, epochs=1, modality_dropout={"audio": 0.3}).history[0].loss > 0
