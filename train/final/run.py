"""The final model: one network per seed, trained on all utterances of a finished run. No score belongs to it."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch

from ...shared.config.train_settings import TrainSettings
from ...shared.errors import TrainingError
from ...shared.files.atomic import replaced_atomically
from ...shared.files.folders import folder_written_atomically
from ..data.dataset import Dataset
from ..fit.history import Epoch
from ..fit.loop import train_on_all
from ..model.checkpoint import save_model
from ..report.files import read_metrics, write_json
from ..report.run_folder import FITS, METRICS_FILE, reuse_run_folder

log = logging.getLogger(__name__)


def check_final(settings: TrainSettings) -> None:
    """Raise TrainingError if no network can be trained on all utterances: features per fold belong to a test group."""
    if settings.fold_features:
        raise TrainingError(
            f"--final: expected features that all folds share, got {', '.join(settings.fold_features)}, of which each "
            "is made for one fold's test group; leave --final out, or train on other streams"
        )


def median_epochs(metrics: Mapping[str, Any]) -> int:
    """The median number of epochs of the fits of a run; halves are rounded up."""
    return int(median(fold["epoch"] for fold in metrics["folds"]) + 0.5)


def add_to_finished_run(
    out: Path,
    ours: frozenset[str],
    settings: TrainSettings,
    data: Dataset,
    metadata: Mapping[str, Any],
    *,
    device: torch.device,
    progress: Callable[[Epoch], None] = lambda epoch: None,
) -> dict[str, Any]:
    """Add the final networks to a finished run in `out`, whose files are `ours`; see `add_final_models`."""
    with reuse_run_folder(out, ours) as folder:
        metrics = read_metrics(folder)
        return add_final_models(folder, settings, data.to(device), metadata, metrics, device=device, progress=progress)


def add_final_models(
    run: Path,
    settings: TrainSettings,
    data: Dataset,
    metadata: Mapping[str, Any],
    metrics: Mapping[str, Any],
    *,
    device: torch.device,
    progress: Callable[[Epoch], None] = lambda epoch: None,
) -> dict[str, Any]:
    """Train the final networks of a run into models/final-seedN, as far as they are missing, and note them.

    Each is trained like the refit of a fold, on all utterances of the run, the test groups included.

    Args:
        run: the folder of the run, with metrics.json.
        settings: settings of training.
        data: the dataset of the run.
        metadata: content of run.json.
        metrics: content of metrics.json, which gets the key `final`.
        device: device of the computation.
        progress: called for every epoch, as of fold 0.

    Returns:
        The new content of metrics.json.
    """
    epochs = median_epochs(metrics)
    for seed in metadata["seeds"]:
        folder = run / "models" / f"final-seed{seed}"
        if folder.exists():
            continue
        snapshot = run / FITS / f"{folder.name}.state"
        trained = train_on_all(
            data,
            settings,
            seed=seed,
            epochs=epochs,
            device=device,
            progress=progress,
            snapshot=snapshot if snapshot.parent.exists() else None,
        )
        description = {**metadata, "final": True, "seed": seed, "epoch": epochs, "trained_on": len(data)}
        with folder_written_atomically(folder) as work:
            save_model(work, trained.model, description)
        log.info("final model, seed %d: trained on all %d utterances for %d epochs", seed, len(data), epochs)
    noted = {**metrics, "final": {"epochs": epochs, "n": len(data), "score": None}}
    with replaced_atomically(run / METRICS_FILE) as temporary:
        write_json(temporary, noted)
    return noted
