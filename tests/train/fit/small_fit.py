"""A small network, trained on the first fold of a dataset."""

import torch

from foal.shared.config.train_settings import TrainSettings
from foal.train.data.dataset import Dataset
from foal.train.data.protocol import Fold, build_cross_validation
from foal.train.fit.loop import TrainedFold, train_fold

CPU = torch.device("cpu")
SMALL = TrainSettings(
    width=16,
    heads=2,
    layers=1,
    epochs=12,
    early_stopping_patience=12,
    learning_rate=3e-3,
    batch_size=16,
    projection_dropout=0.1,
    select="ua",
    refit=False,
)


def first_fold(data: Dataset) -> Fold:
    return build_cross_validation(data.utterances, "loso-nested", data.speakers).folds[0]


def fit_first(data: Dataset, settings: TrainSettings = SMALL, *, seed: int = 0) -> TrainedFold:
    return train_fold(data, first_fold(data), settings, seed=seed, device=CPU)
