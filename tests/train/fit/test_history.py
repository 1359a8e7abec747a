"""Selection of the best epoch, and early stopping."""

from collections.abc import Callable

import pytest
import torch

from foal.train.data.dataset import Dataset
from foal.train.fit.history import Epoch, TrainingHistory
from foal.train.model.foalnet import FoalNet


def epoch(number: int, dev_ua: float, dev_loss: float = 1.0) -> Epoch:
    return Epoch(
        seed=0,
        fold=1,
        epoch=number,
        loss=1.0,
        loss_classes=1.0,
        loss_avel=0.0,
        loss_mem=0.0,
        dev_loss=dev_loss,
        dev_ua=dev_ua,
        dev_wa=dev_ua,
    )


def history_of(model: FoalNet, *epochs: Epoch, select: str = "ua") -> TrainingHistory:
    history = TrainingHistory(best=None, history=(), last_improvement=0, best_state={})
    for row in epochs:
        history = history.after(row, model, select)
    return history


@pytest.mark.parametrize(("select", "best", "last_improvement"), [("ua", 2, 2), ("loss", 1, 1), ("last", 3, 3)])
def test_the_epoch_is_selected_by_score_loss_or_number(
    make_dataset: Callable[..., Dataset],
    make_model: Callable[..., FoalNet],
    select: str,
    best: int,
    last_improvement: int,
) -> None:
    model = make_model(make_dataset())
    history = history_of(model, epoch(1, 0.5, 1.0), epoch(2, 0.6, 1.5), epoch(3, 0.4, 2.0), select=select)
    assert history.best is not None
    assert (history.best.epoch, history.last_improvement) == (best, last_improvement)


def test_a_lower_loss_decides_between_equal_scores(
    make_dataset: Callable[..., Dataset], make_model: Callable[..., FoalNet]
) -> None:
    model = make_model(make_dataset())
    history = history_of(model, epoch(1, 0.5, 2.0), epoch(2, 0.5, 1.0), epoch(3, 0.5, 1.5))
    assert history.best is not None
    assert history.best.epoch == 2
    # Only a better score resets early stopping.
    assert history.last_improvement == 1
    assert [row.epoch for row in history.history] == [1, 2, 3]


def test_training_stops_after_epochs_without_a_better_score(
    make_dataset: Callable[..., Dataset], make_model: Callable[..., FoalNet]
) -> None:
    model = make_model(make_dataset())
    scores = [0.5, 0.6, 0.4, 0.6]
    history = history_of(model, *(epoch(number, score) for number, score in enumerate(scores, start=1)))
    assert (history.last_improvement, history.should_stop(3), history.should_stop(2)) == (2, False, True)


def test_the_best_state_is_a_copy(make_dataset: Callable[..., Dataset], make_model: Callable[..., FoalNet]) -> None:
    model = make_model(make_dataset())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    history = history_of(model, epoch(1, 0.9))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    history = history.after(epoch(2, 0.1), model)
    assert history.best_state.keys() == before.keys()
    assert all(torch.equal(history.best_state[name], value) for name, value in before.items())
