"""Every head over dialogs learns from the turns before: a task in which the class of a turn often stays."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from foal.shared.config.fusion_settings import DIALOG_HEADS
from foal.shared.config.train_settings import TrainSettings
from foal.tests.train.dialogs.dialog_corpus import dataset_of, turn
from foal.train.data.dataset import Dataset
from foal.train.data.protocol import cross_validation_of
from foal.train.fit.loop import train_fold
from foal.train.fit.predict import predict

CPU = torch.device("cpu")
CLASSES = ("a", "b", "c", "d")
STAYS = 0.8
"""Probability that the class of a turn is that of the turn before."""
EVIDENCE = 1.0
"""Distance of a class from the origin, in deviations of the noise, in each of the two streams."""


def persistent_dialogs(dialogs: int, seed: int = 0) -> Dataset:
    """Dialogs of 4 to 8 turns, half of the test session; each stream of a turn is weak evidence of its class."""
    rng = torch.Generator().manual_seed(seed)
    labels: list[int] = []
    turns = []
    for dialog in range(dialogs):
        label = int(torch.randint(0, 4, (), generator=rng))
        for number in range(4 + dialog % 5):
            if torch.rand((), generator=rng) > STAYS:
                label = (label + int(torch.randint(1, 4, (), generator=rng))) % 4
            turns.append(turn(dialog, number, CLASSES[label], 1 if dialog % 2 else dialog // 2 % 2 + 2))
            labels.append(label)
    signal = EVIDENCE * F.one_hot(torch.tensor(labels), 4)
    vectors = {name: torch.randn(len(turns), 4, generator=rng) + signal for name in ("audio", "face")}
    valid = {name: torch.ones(len(turns), dtype=torch.bool) for name in vectors}
    return dataset_of(turns, vectors, valid, CLASSES)


def correct(data: Dataset, fusion: str, context: str) -> Tensor:
    settings = TrainSettings(
        fusion=fusion, context=context, width=16, epochs=10, batch_size=128, learning_rate=1e-2, refit=False
    )
    fold = cross_validation_of(settings, data.utterances, data.speakers).folds[0]
    model = train_fold(data, fold, settings, seed=0, device=CPU).model
    return (predict(model, data, fold.test_rows, device=CPU).argmax(1) == data.labels[fold.test_rows]).float()


@pytest.fixture(scope="module")
def data() -> Dataset:
    return persistent_dialogs(300)


@pytest.mark.parametrize("fusion", DIALOG_HEADS)
def test_a_head_beats_the_same_head_without_context_where_the_class_often_stays(data: Dataset, fusion: str) -> None:
    none, both = (correct(data, fusion, context).mean() for context in ("none", "both"))
    assert none > 0.4  # chance: 0.25
    assert both > none + 0.03, f"{none:.3f} without context, {both:.3f} with it"
