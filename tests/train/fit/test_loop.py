from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import TrainingError
from foal.tests.train.fit.small_fit import CPU, SMALL, first_fold, fit_first
from foal.train.data.dataset import Dataset
from foal.train.data.features import InMemory
from foal.train.data.normalization import frame_statistics
from foal.train.data.protocol import build_cross_validation
from foal.train.data.sequences import PackedSequences
from foal.train.fit.loop import train_fold
from foal.train.fit.predict import predict
from foal.train.metrics.classification import confusion, unweighted_accuracy


def score_on_test(data: Dataset, settings: TrainSettings = SMALL) -> float:
    rows = first_fold(data).test_rows
    predicted = predict(fit_first(data, settings).model, data, rows, batch_size=64, device=CPU).argmax(1)
    return float(unweighted_accuracy(confusion(data.labels[rows].numpy(), predicted.numpy(), len(data.classes))))


@pytest.fixture
def two_bits(make_dataset: Callable[..., Dataset], make_stream: Callable[..., PackedSequences]) -> Dataset:
    """Four classes: audio encodes one bit of the class, face the other; half of the face frames are invalid."""
    rng = torch.Generator().manual_seed(0)
    n = 144
    labels = torch.arange(n) % 4
    audio: list[Tensor] = []
    face: list[Tensor] = []
    face_valid: list[Tensor] = []
    for label in labels.tolist():
        for frames, bit in ((audio, label % 2), (face, label // 2)):
            t = int(torch.randint(2, 10, (), generator=rng))
            frames.append((2.0 * bit - 1) * torch.tensor([1.0, -1.0, 0, 0]) + 0.5 * torch.randn(t, 4, generator=rng))
        face_valid.append(torch.arange(len(face[-1])) % 2 == 0)
    return make_dataset(n, c=4, streams={"audio": make_stream(audio), "face": make_stream(face, face_valid)})


def test_two_modalities_score_better_than_one(two_bits: Dataset) -> None:
    single_scores = [score_on_test(two_bits.select([name])) for name in ("audio", "face")]
    assert max(single_scores) < 0.65  # one of the two bits gives 0.5
    assert score_on_test(two_bits) > 0.85
    assert score_on_test(two_bits, SMALL.model_copy(update={"avel": False, "mem": False})) > 0.85


def test_the_same_seed_gives_the_same_network(make_dataset: Callable[..., Dataset]) -> None:
    data = make_dataset()
    settings = SMALL.model_copy(update={"epochs": 3})
    state_before = torch.random.get_rng_state()
    first = fit_first(data, settings)
    torch.rand(7)
    second, other = fit_first(data, settings), fit_first(data, settings, seed=1)
    assert first.history == second.history
    assert first.history != other.history
    weights = second.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in first.model.state_dict().items())
    torch.random.set_rng_state(state_before)
    assert fit_first(data, settings).epoch == first.epoch
    assert torch.equal(torch.random.get_rng_state(), state_before)  # the caller's random state is unchanged


def test_the_best_epoch_is_kept_and_training_stops_early(two_bits: Dataset) -> None:
    fitted = fit_first(two_bits, SMALL.model_copy(update={"epochs": 60, "early_stopping_patience": 2}))
    uas = [epoch.dev_ua or 0.0 for epoch in fitted.history]
    first = uas.index(max(uas)) + 1
    assert len(uas) == first + 2 < 60
    equals = [epoch for epoch in fitted.history if epoch.dev_ua == max(uas)]
    assert min(equals, key=lambda epoch: epoch.dev_loss or 0.0).epoch == fitted.epoch
    dev = first_fold(two_bits).dev_rows
    predicted = predict(fitted.model, two_bits, dev, batch_size=64, device=CPU).argmax(1)
    assert unweighted_accuracy(confusion(two_bits.labels[dev].numpy(), predicted.numpy(), 4)) == max(uas)


def test_the_test_fold_has_no_influence_on_training(make_dataset: Callable[..., Dataset]) -> None:
    data = make_dataset()
    rows = first_fold(data).test_rows
    streams = {}
    assert isinstance(data.features, InMemory)
    for name, stream in data.features.streams.items():
        values = stream.values.clone()
        for row in rows.tolist():
            values[int(stream.starts[row]) : int(stream.starts[row] + stream.lengths[row])] = float("nan")
        streams[name] = replace(stream, values=values)
    labels = data.labels.clone()
    labels[rows] = 0
    settings = SMALL.model_copy(update={"epochs": 2})
    blinded = replace(data, features=InMemory(streams), labels=labels)
    assert fit_first(data, settings).history == fit_first(blinded, settings).history


def test_a_loss_that_is_not_finite_is_an_error(make_dataset: Callable[..., Dataset]) -> None:
    with pytest.raises(TrainingError, match=r"fold 1, epoch \d+: expected a finite loss, got NaN or infinity; lower"):
        fit_first(make_dataset(), SMALL.model_copy(update={"learning_rate": 1e30, "epochs": 5}))


def test_a_refit_trains_a_new_network_on_both_groups(make_dataset: Callable[..., Dataset]) -> None:
    data = make_dataset()
    settings = SMALL.model_copy(update={"epochs": 4})
    selected = fit_first(data, settings)
    refitted = fit_first(data, settings.model_copy(update={"refit": True}))
    assert (refitted.epoch, refitted.history) == (selected.epoch, selected.history)
    fold = first_fold(data)
    # Its normalization covers the development group as well.
    both = torch.cat([fold.train_rows, fold.dev_rows])
    for name, (mean, _) in frame_statistics(data.features, both).items():
        torch.testing.assert_close(refitted.model.get_buffer(f"projections.{name}.mean"), mean)
        assert not torch.allclose(selected.model.get_buffer(f"projections.{name}.mean"), mean)


def test_a_test_group_that_chooses_the_epoch_is_never_trained_on(make_dataset: Callable[..., Dataset]) -> None:
    data = make_dataset()
    fold = build_cross_validation(data.utterances, "loso-reference", data.speakers).folds[0]
    assert torch.equal(fold.dev_rows, fold.test_rows)
    settings = SMALL.model_copy(update={"epochs": 2, "select": "last", "refit": True})
    fitted = train_fold(data, fold, settings, seed=0, device=CPU)
    assert all(epoch.dev_ua is not None for epoch in fitted.history)
    for name, (mean, _) in frame_statistics(data.features, fold.train_rows).items():
        torch.testing.assert_close(fitted.model.get_buffer(f"projections.{name}.mean"), mean)


def test_a_refit_of_the_last_epoch_is_a_single_training(make_dataset: Callable[..., Dataset]) -> None:
    data = make_dataset()
    settings = SMALL.model_copy(update={"epochs": 3, "select": "last", "refit": True})
    fitted = fit_first(data, settings)
    assert [(row.epoch, row.dev_ua) for row in fitted.history] == [(1, None), (2, None), (3, None)]
    assert fitted.epoch == 3


def test_the_last_epoch_is_selected_without_early_stopping(make_dataset: Callable[..., Dataset]) -> None:
    settings = SMALL.model_copy(update={"epochs": 9, "select": "last", "early_stopping_patience": 1})
    fitted = fit_first(make_dataset(), settings)
    assert (fitted.epoch, len(fitted.history)) == (9, 9)
