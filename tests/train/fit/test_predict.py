from collections.abc import Callable

import torch

from foal.shared.config.train_settings import TrainSettings
from foal.train.data.dataset import Dataset
from foal.train.data.protocol import build_cross_validation
from foal.train.fit.loop import TrainedFold, train_fold
from foal.train.fit.predict import predict

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
)


def fit_first(data: Dataset, settings: TrainSettings = SMALL, *, seed: int = 0) -> TrainedFold:
    fold = build_cross_validation(data.utterances, "loso-nested", data.speakers).folds[0]
    return train_fold(data, fold, settings, seed=seed, device=CPU)


def test_predictions_are_in_the_order_of_the_rows(make_dataset: Callable[..., Dataset]) -> None:
    data = make_dataset()
    model = fit_first(data, SMALL.model_copy(update={"epochs": 1})).model
    rows = torch.tensor([7, 2, 19, 2])
    batched = predict(model, data, rows, batch_size=3, device=CPU)
    single = torch.cat([predict(model, data, rows[i : i + 1], batch_size=1, device=CPU) for i in range(4)])
    torch.testing.assert_close(batched, single, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(batched.sum(1), torch.ones(4))
