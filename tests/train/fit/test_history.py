"""Selection of the best epoch, early stopping, and history.csv."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from foal.shared.errors import StoreError
from foal.train.data.dataset import Dataset
from foal.train.fit.history import Epoch, TrainingHistory, read_history, write_history
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


ROW = replace(epoch(2, 0.5), seed=3, loss=1.25, loss_classes=0.25, loss_avel=0.0, loss_mem=0.0, dev_wa=None)


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


def test_the_history_has_a_line_per_epoch_rounded(tmp_path: Path) -> None:
    write_history(tmp_path / "history.csv", [replace(ROW, loss=1 / 3)])
    head, line = (tmp_path / "history.csv").read_text().splitlines()
    assert head == "seed,fold,epoch,loss,loss_classes,loss_avel,loss_mem,dev_loss,dev_ua,dev_wa"
    assert line == "3,1,2,0.333333,0.250000,0.000000,0.000000,1.000000,0.500000,"


@pytest.mark.parametrize("changes", [{}, {"loss_fusion": 0.5, "dev_ccc": 0.125}])
def test_what_is_written_is_read(tmp_path: Path, changes: dict[str, Any]) -> None:
    history = [replace(ROW, **changes), replace(ROW, epoch=3, dev_ua=None)]
    write_history(tmp_path / "history.csv", history)
    assert read_history(tmp_path / "history.csv") == history


@pytest.mark.parametrize("content", [None, "a,b\n1,2\n", "seed,fold,epoch\none,1,1\n"])
def test_other_files_are_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "history.csv").write_text(content)
    with pytest.raises(StoreError, match=r"expected the history\.csv of a run of `foal train`"):
        read_history(tmp_path / "history.csv")
