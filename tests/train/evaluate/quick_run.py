"""Settings, scores and probabilities of the run that is used by the tests of this folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foal.shared.config.settings import Settings
from foal.shared.config.train_settings import TrainSettings
from foal.train.data.dataset import Dataset
from foal.train.evaluate.ensemble import load_fold_models
from foal.train.fit.predict import predict

CPU = torch.device("cpu")
QUICK = TrainSettings(width=16, heads=2, layers=1, epochs=2, batch_size=8, bootstrap=50, seeds=(0, 1))
SETTINGS = Settings(train=QUICK)
KEYS = {"audio": "0" * 64, "face": "0" * 64}
SCORES = (
    "ua_mean",
    "ua_std",
    "wa_mean",
    "wa_std",
    "f1_mean",
    "f1_std",
    "ua_ci95",
    "wa_ci95",
    "per_class_recall",
    "confusion",
)


def read(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))


def tables_of(run: Path, data: Dataset, rows: torch.Tensor, **options: Any) -> np.ndarray:
    """Probabilities of the run's six networks for m rows, (2, 3, m, 2)."""
    models = load_fold_models(run)
    tables = [
        predict(fold_model.model, data, rows, batch_size=5, device=CPU, **options).numpy() for fold_model in models
    ]
    return np.stack(tables).reshape(2, 3, len(rows), 2)
