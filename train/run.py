"""`foal train` from top to bottom: features in, a folder of results out."""

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..shared.errors import TrainingError
from ..shared.index import FeatureStore
from ..shared.settings import MODALITIES, Settings
from .checkpoint import save_model
from .data import Dataset
from .fit import Epoch, fit
from .folder import new_run
from .load import chosen_names, load_dataset
from .metrics import confusion, macro_f1, pooled_scores, unweighted_accuracy, weighted_accuracy
from .plots import plot_confusion, plot_learning
from .predict import predict
from .protocol import Fold, check_classes, loso_nested, speakers_in_several
from .report import title_of, write_history, write_json, write_predictions


@dataclass(frozen=True, kw_only=True)
class FoldScore:
    """One line of metrics.json's `folds`: the test group's scores, seen once; `epoch` was chosen on `dev`."""

    seed: int
    fold: int
    test: str
    dev: str
    ua: float
    wa: float
    f1: float
    epoch: int
    n: int


def train(
    settings: Settings, features: Path, out: Path, *, progress: Callable[[Epoch | FoldScore], None] = lambda step: None
) -> dict[str, Any]:
    """Train and test every fold with every seed, write everything into `out`, give back what metrics.json says.

    `progress` hears of every epoch and every fold. Raises TrainingError if the features do not allow this training,
    StoreError if they cannot be read; then nothing is left behind.
    """
    t = settings.train
    device = _device(t.device)
    with FeatureStore(features) as store:
        wanted = {"audio": t.audio, "face": t.face}
        modalities = MODALITIES if t.modalities == "both" else (t.modalities,)
        names = chosen_names(store, {modality: wanted[modality] for modality in modalities})
        data = load_dataset(store, classes=settings.corpus.classes, frame_rate=t.frame_rate, names=names)
        features_hash, provenance = store.digest, store.provenance()
        random_weights = any(store.modalities[name].random_weights for name in names.values())
    folds = loso_nested(data.groups)
    check_classes(folds, data.labels, data.classes)
    paired = len(data.streams) > 1
    about: dict[str, Any] = {
        "protocol": t.protocol, "features": features_hash, "random_weights": random_weights, "modalities": t.modalities,
        "streams": list(names.values()),
        "align": t.align and paired, "match": t.match and paired, "classes": list(data.classes), "n": len(data.ids),
        "seeds": list(dict.fromkeys(t.seeds)), "versions": _versions(),
    }  # fmt: skip

    with new_run(out) as folder, _deterministic(device, t.threads):
        origin = {
            "settings": t.model_dump(mode="json"), "provenance": provenance, "threads": torch.get_num_threads(),
            "device": str(device),
        }  # fmt: skip
        write_json(folder / "run.json", {**about, **origin})
        there = data.to(device)
        probabilities: dict[int, np.ndarray[Any, np.dtype[np.float32]]] = {}
        scores: list[FoldScore] = []
        history: list[Epoch] = []
        for seed in about["seeds"]:
            probabilities[seed] = np.empty((len(data.ids), len(data.classes)), np.float32)
            for fold in folds:
                fitted = fit(there, fold, t, seed=seed, progress=progress)
                history += fitted.history
                guessed = predict(fitted.model, there, fold.test_rows, batch_size=4 * t.batch_size).numpy()
                probabilities[seed][fold.test_rows.numpy()] = guessed
                scores.append(_score(data, fold, guessed, seed=seed, epoch=fitted.epoch))
                about_model = {**about, "score": asdict(scores[-1]), **origin}
                save_model(folder / "models" / f"seed{seed}-fold{fold.number}", fitted.model, about_model)
                progress(scores[-1])

        predicted = np.stack([table.argmax(1) for table in probabilities.values()])
        metrics = {
            **about,
            "folds": [asdict(score) for score in scores],
            **pooled_scores(data.labels.numpy(), predicted, data.speakers, classes=data.classes, resamples=t.bootstrap),
            "notes": [*data.notes, *_notes(data, random_weights)],
        }
        write_json(folder / "metrics.json", metrics)
        write_predictions(folder / "predictions.csv", data, probabilities, data.groups)
        write_history(folder / "history.csv", history)
        plot_confusion(folder / "confusion.png", metrics, title=title_of(metrics))
        best = {(score.seed, score.fold): score.epoch for score in scores}
        plot_learning(folder / "learning.png", history, best, title=title_of(metrics))
    return metrics


def _score(data: Dataset, fold: Fold, guessed: np.ndarray[Any, Any], *, seed: int, epoch: int) -> FoldScore:
    counts = confusion(data.labels[fold.test_rows].numpy(), guessed.argmax(1), len(data.classes))
    return FoldScore(
        seed=seed, fold=fold.number, test=fold.test, dev=fold.dev, epoch=epoch, n=len(fold.test_rows),
        ua=float(unweighted_accuracy(counts)), wa=float(weighted_accuracy(counts)), f1=float(macro_f1(counts)),
    )  # fmt: skip


def _notes(data: Dataset, random_weights: bool) -> list[str]:
    notes = []
    if random_weights:
        notes.append(
            "random weights: an encoder of these features never learned anything; the numbers only show that all works"
        )
    if several := speakers_in_several(data.groups, data.speakers):
        notes.append(
            f"{len(several)} of {len(set(data.speakers))} speakers are in more than one {data.group_kind}: "
            "the results are not speaker-independent"
        )
    return notes


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise TrainingError(f"train.device: expected auto, cpu, cuda or cuda:N, got {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise TrainingError(f"train.device is {name}, but PyTorch sees {torch.cuda.device_count()} CUDA devices")
    return device


@contextmanager
def _deterministic(device: torch.device, threads: int) -> Iterator[None]:
    """A fixed number of threads and, on CUDA, only kernels that repeat; afterwards all is as before.

    By default (0) half the threads that PyTorch would take: steps are small, and where anything else runs, each waits
    for the last thread to get a core. On two shared cores two threads took ten times as long as one.
    """
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads or max(1, before[0] // 2))
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs to repeat itself
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])


def _versions() -> str:
    found = {"foal": version("foal-mer"), "python": platform.python_version(), "torch": torch.__version__}
    return ", ".join(f"{name} {number}" for name, number in {**found, "numpy": np.__version__}.items())
