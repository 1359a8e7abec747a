"""Batches and folds without classes, modalities or frames: training neither fails nor gives NaN."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from foal.shared.config.train_settings import TrainSettings
from foal.train.data.dataset import Dataset
from foal.train.data.features import InMemory
from foal.train.data.protocol import build_cross_validation, check_classes
from foal.train.data.sequences import Batch, Frames, PackedSequences
from foal.train.fit.loop import fit_normalization, train_epoch, train_fold
from foal.train.fit.optimizer import Optimizer
from foal.train.model.foalnet import FoalNet

BatchOf = Callable[[Dataset, Tensor], Batch]
Make = Callable[..., Dataset]
CPU = torch.device("cpu")
QUICK = TrainSettings(width=16, heads=2, layers=1, epochs=3, batch_size=8)
COMPAT = pytest.mark.parametrize(
    "settings",
    [QUICK, QUICK.model_copy(update={"compat": ("temperature", "sum", "own-pairs", "same-class")})],
    ids=["ours", "authors"],
)


def without_modality(data: Dataset, name: str, rows: slice = slice(None)) -> Dataset:
    """The dataset with all frames of a modality invalid and NaN in `rows`."""
    assert isinstance(data.features, InMemory)
    stream = data.features.streams[name]
    values, valid = stream.values.clone(), stream.valid.clone()
    for row in range(len(data))[rows]:
        frames = slice(int(stream.starts[row]), int(stream.starts[row] + stream.lengths[row]))
        values[frames], valid[frames] = float("nan"), False
    changed = {**data.features.streams, name: replace(stream, values=values, valid=valid)}
    return replace(data, features=InMemory(changed))


def check_finite(model: torch.nn.Module) -> None:
    for name, value in model.state_dict().items():
        assert torch.isfinite(value).all(), name


def run_five_steps(model: FoalNet, data: Dataset, batch: Batch, settings: TrainSettings) -> list[float]:
    """Run five steps on the same batch; return the mean of each loss."""
    fit_normalization(model, data, torch.arange(len(data)))
    optimizer = Optimizer(model, settings, CPU)
    draws = 5 * len(batch.rows)
    rng = torch.Generator().manual_seed(0)
    losses = train_epoch(model, [batch] * 5, optimizer, settings, rng, draws=draws, epoch=0)
    assert torch.isfinite(torch.tensor(losses)).all()
    check_finite(model)
    return losses


@COMPAT
@pytest.mark.parametrize(
    "rows", [[0, 3, 6, 9], [7], [2, 2, 2]], ids=["one class", "one utterance", "one drawn three times"]
)
def test_batches_of_one_class_or_utterance_give_finite_steps(
    make_dataset: Make, make_model: Callable[..., FoalNet], batch_of: BatchOf, settings: TrainSettings, rows: list[int]
) -> None:
    data = make_dataset()
    model = make_model(data, cosine_over_temperature="temperature" in settings.compat)
    _, _, _, mem_loss, *_ = run_five_steps(model, data, batch_of(data, torch.tensor(rows)), settings)
    assert (mem_loss > 0) == ("same-class" in settings.compat)


@COMPAT
@pytest.mark.parametrize("name", ["audio", "face"])
@pytest.mark.parametrize("rows", [slice(None), slice(1, None), slice(0, 12)], ids=["none", "one", "half"])
def test_batches_without_a_modality_give_finite_steps(
    make_dataset: Make,
    make_model: Callable[..., FoalNet],
    batch_of: BatchOf,
    settings: TrainSettings,
    name: str,
    rows: slice,
) -> None:
    data = without_modality(make_dataset(), name, rows)
    model = make_model(data, cosine_over_temperature="temperature" in settings.compat)
    run_five_steps(model, data, batch_of(data, torch.arange(12)), settings)


@COMPAT
def test_batches_without_any_valid_frame_give_finite_steps(
    make_dataset: Make, make_model: Callable[..., FoalNet], batch_of: BatchOf, settings: TrainSettings
) -> None:
    data = without_modality(without_modality(make_dataset(), "audio"), "face")
    run_five_steps(make_model(data), data, batch_of(data, torch.arange(9)), settings)


@COMPAT
@pytest.mark.parametrize("modalities", [["audio"], ["face"], ["audio", "face"]], ids=str)
def test_sequences_of_one_frame_can_be_trained_on(
    make_dataset: Make, make_stream: Callable[..., PackedSequences], modalities: list[str], settings: TrainSettings
) -> None:
    rng = torch.Generator().manual_seed(0)
    streams = {name: make_stream(list(torch.randn(24, 1, 3, generator=rng))) for name in ("audio", "face")}
    data = make_dataset(streams=streams).select(modalities)
    fold = build_cross_validation(data.utterances, "loso-nested", data.speakers).folds[0]
    check_finite(train_fold(data, fold, settings, seed=0, device=CPU).model)


@COMPAT
@pytest.mark.parametrize("name", ["audio", "face"])
@pytest.mark.parametrize("empty", [False, True], ids=["invalid", "no frames"])
def test_a_fit_without_any_frame_of_a_modality_is_finite(
    make_dataset: Make, make_stream: Callable[..., PackedSequences], name: str, empty: bool, settings: TrainSettings
) -> None:
    data = make_dataset()
    assert isinstance(data.features, InMemory)
    no_frames = make_stream([torch.zeros(0, 4)] * 24)
    data = (
        replace(data, features=InMemory({**data.features.streams, name: no_frames}))
        if empty
        else without_modality(data, name)
    )
    fold = build_cross_validation(data.utterances, "loso-nested", data.speakers).folds[0]
    fitted = train_fold(data, fold, settings, seed=0, device=CPU)
    check_finite(fitted.model)
    assert all(row.loss_avel == 0 for row in fitted.history)
    assert fitted.history[-1].loss_classes > 0


@COMPAT
@pytest.mark.parametrize("present", [[0, 1], [2]], ids=["two of three", "one of three"])
def test_a_fit_whose_development_fold_lacks_classes_is_finite(
    make_dataset: Make, settings: TrainSettings, present: list[int]
) -> None:
    sessions = [f"session{i // 12 + 1}" for i in range(48)]
    labels = [present[i % len(present)] if sessions[i] == "session2" else i % 3 for i in range(48)]
    data = make_dataset(48, sessions=sessions, labels=labels)
    fold = build_cross_validation(data.utterances, "loso-nested", data.speakers).folds[0]
    assert fold.dev == "session2"
    check_classes([fold], data.labels, data.classes)
    fitted = train_fold(data, fold, settings.model_copy(update={"select": "ua"}), seed=0, device=CPU)
    check_finite(fitted.model)
    assert all(row.dev_ua is not None and 0 <= row.dev_ua <= 1 for row in fitted.history)


def test_placeholders_and_modality_dropout_can_be_combined(make_dataset: Make, batch_of: BatchOf) -> None:
    data = without_modality(without_modality(make_dataset(), "face", slice(0, 8)), "audio", slice(4, 12))
    settings = QUICK.model_copy(update={"modality_dropout": 0.9})
    fold = build_cross_validation(data.utterances, "loso-nested", data.speakers).folds[0]
    check_finite(train_fold(data, fold, settings, seed=0, device=CPU).model)


@pytest.mark.parametrize("seed", range(3))
def test_values_of_invalid_frames_do_not_change_the_training(
    make_dataset: Make, make_model: Callable[..., FoalNet], batch_of: BatchOf, seed: int
) -> None:
    data = make_dataset(seed=seed)
    batch = batch_of(data, torch.arange(12))
    garbage = {
        name: Frames(torch.where(valid[..., None], values, 1e4), valid)
        for name, (values, valid, _) in batch.frames.items()
    }
    trained = []
    for frames in (batch.frames, garbage):
        model = make_model(data)
        run_five_steps(model, data, replace(batch, frames=frames), QUICK)
        trained.append(model.state_dict())
    for name, value in trained[0].items():
        torch.testing.assert_close(trained[1][name], value, atol=1e-6, rtol=1e-5)
