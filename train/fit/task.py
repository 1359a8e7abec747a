"""One fit, of a network or of a baseline, as a task whose result is kept on disk and reused."""

import json
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ...shared.config.train_settings import TrainSettings
from ...shared.errors import DivergedError, StoreError
from ...shared.files.atomic import replaced_atomically
from ..data.dataset import Dataset
from ..data.protocol import CrossValidation, Fold
from ..data.streams import wanted_streams
from ..metrics.classification import confusion, macro_f1, unweighted_accuracy, weighted_accuracy
from ..metrics.regression import group_scores
from ..model.checkpoint import save_model
from .baselines import Baseline, fit_baseline
from .device import amp_dtype
from .history import Epoch
from .loop import train_fold
from .predict import predict_targets
from .ridge import fit_ridge

ALGORITHM = 4
"""Version of the computation; raised when the same settings give other numbers, so that old results are not reused."""
SNAPSHOTS = (".state", ".refit")
"""Suffixes of the snapshots of an unfinished fit: of the selection, and of the refit."""
SETTINGS_NOT_IN_KEY = {"seeds", "protocol", "scene_groups", "bootstrap", "streams"}
"""Settings that are not part of a task id: they do not influence a single fit, or the id covers them otherwise."""


@dataclass(frozen=True, kw_only=True)
class FitTask:
    """One fit: one seed and fold of a system.

    Attributes:
        settings: settings of training; the streams are those of the fold.
        inputs: inputs of the system (None: all streams of the settings).
        baseline: the baseline to fit (None: the network).
        scored: group whose rows the network classifies: the test group, or dev, the development group, without
            reading the test group.
        seed: seed of the fit.
        fold: number of the fold, from 1.
        folder: folder of the result.
        model: folder of the trained network (None: not saved).
        metadata: description of the run, saved with the network.
    """

    settings: TrainSettings
    inputs: tuple[str, ...] | None = None
    baseline: Baseline | None = None
    scored: Literal["test", "dev"] = "test"
    seed: int
    fold: int
    folder: Path
    model: Path | None = None
    metadata: Mapping[str, Any] | None = None

    def path(self, data: Dataset, folds: CrossValidation) -> Path:
        """The file of the result, named after the task id: a hash of everything that influences the result.

        `data` may have more inputs than the task uses; `folds` are those of the task's protocol.
        """
        settings = self.settings.model_dump(mode="json", exclude=SETTINGS_NOT_IN_KEY)
        wanted = wanted_streams(self.settings)
        names = {name: wanted[name] or data.stream_names[name] for name in self.inputs or wanted}
        kind = None if self.baseline is None else asdict(self.baseline)
        content = [ALGORITHM, kind, settings, self.seed, self.fold, data.digest, names, data.classes, folds.digest]
        if self.scored == "dev":
            content.append("dev")  # the ids of the other tasks have no such part
        task_id = blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=12).hexdigest()
        return self.folder / f"{task_id}.npz"


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """Result of a fit: predictions for the scored group after the best epoch (None for a baseline).

    They are probabilities (m, c), and ratings (m, k) if these are targets. `seconds` are those of the clock,
    `processor_seconds` those of all threads of the process, and `parameters` the weights of the network; the last two
    are None in results of earlier versions.
    """

    seed: int
    fold: int
    epoch: int | None
    seconds: float
    history: tuple[Epoch, ...]
    probabilities: NDArray[np.float32]
    ratings: NDArray[np.float32] | None = None
    processor_seconds: float | None = None
    parameters: int | None = None


@dataclass(frozen=True, kw_only=True)
class FoldScore:
    """One line of `folds` in metrics.json: scores on the test group.

    `epoch` was chosen on the group `dev`, or is the last one. UA, WA and F1 are None without classes, `ratings` (CCC
    and MAE by dimension) without ratings. `position` counts the fits of the run for its progress, as (3, 15) for the
    third of 15.
    """

    seed: int
    fold: int
    test: str
    dev: str
    ua: float | None
    wa: float | None
    f1: float | None
    epoch: int
    n: int
    ratings: dict[str, Any] | None = None
    position: tuple[int, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """The scores that exist, as JSON values."""
        return {name: value for name, value in asdict(self).items() if value is not None and name != "position"}


def run_task(
    task: FitTask,
    data: Dataset,
    folds: CrossValidation,
    device: torch.device,
    *,
    open_data: Callable[[TrainSettings], Dataset] | None = None,
    progress: Callable[[Epoch], None] = lambda epoch: None,
) -> FitResult:
    """Return the stored result of a task, or compute and store it.

    Args:
        task: the task.
        data: the dataset; may have more inputs than the task uses.
        folds: folds of the task's protocol.
        device: device of the computation.
        open_data: opens the dataset with the streams of the task's fold when it is needed (None: `data`).
        progress: called for every epoch, stored ones included.

    Raises:
        DivergedError: a loss or a prediction of the network is NaN or infinite.
    """
    path = task.path(data, folds)
    if path.exists() and (task.model is None or task.model.exists()):
        result = load_result(path)
        for epoch in result.history:
            progress(epoch)
        return result
    began, processor_began = time.monotonic(), time.process_time()
    digest = data.digest
    data = data if open_data is None else open_data(task.settings)
    if data.digest != digest:
        raise StoreError("the features were replaced during the run; start it again")
    data = data.select(task.inputs or list(data.stream_names), task.settings.max_seconds)
    fold = folds.folds[task.fold - 1]
    if task.baseline is not None:
        probabilities, ratings = _baseline_predictions(task, task.baseline, data, fold)
        result = FitResult(
            seed=task.seed,
            fold=task.fold,
            epoch=None,
            history=(),
            probabilities=probabilities,
            ratings=ratings,
            seconds=time.monotonic() - began,
            processor_seconds=time.process_time() - processor_began,
        )
    else:
        snapshot = path.with_suffix(".state")
        trained = train_fold(
            data, fold, task.settings, seed=task.seed, device=device, progress=progress, snapshot=snapshot
        )
        rows = fold.dev_rows if task.scored == "dev" else fold.test_rows
        half = amp_dtype(task.settings, device)  # as in the selection of the epoch
        predictions = predict_targets(trained.model, data, rows, device=device, half=half)
        if not (predictions.probabilities.isfinite().all() and predictions.ratings.isfinite().all()):
            # Every loss was finite: the last step, after which there was none, was too large.
            raise DivergedError(
                f"fold {fold.number}: expected finite predictions, got NaN or infinity; lower train.learning_rate "
                f"({task.settings.learning_rate:g})"
            )
        result = FitResult(
            seed=task.seed,
            fold=task.fold,
            epoch=trained.epoch,
            history=trained.history,
            probabilities=predictions.probabilities.numpy(),
            ratings=predictions.ratings.numpy() if data.targets.dimensions else None,
            seconds=time.monotonic() - began,
            processor_seconds=time.process_time() - processor_began,
            parameters=sum(weights.numel() for weights in trained.model.parameters()),
        )
        if task.model is not None:
            score = fold_score(data, fold, result).to_json()
            save_model(task.model, trained.model, {**(task.metadata or {}), "score": score})
    save_result(path, result)
    for suffix in SNAPSHOTS:
        path.with_suffix(suffix).unlink(missing_ok=True)
    return result


def _baseline_predictions(
    task: FitTask, baseline: Baseline, data: Dataset, fold: Fold
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Probabilities (m, c) and ratings (m, k) of a baseline, which predicts either."""
    refit = task.settings.refit
    if baseline.estimator == "ridge":
        return np.zeros((len(fold.test_rows), 0), np.float32), fit_ridge(data, fold, baseline.parts, refit=refit)
    return fit_baseline(data, fold, baseline, refit=refit, seed=task.seed), None


def save_result(path: Path, result: FitResult) -> None:
    """Write a result as .npz without pickles: the predictions, and the rest as JSON."""
    names = ("seed", "fold", "epoch", "seconds", "processor_seconds", "parameters")
    fields = {name: getattr(result, name) for name in names}
    text = json.dumps({**fields, "history": [asdict(row) for row in result.history]})
    with replaced_atomically(path) as temporary, temporary.open("wb") as file:
        tables = {"probabilities": result.probabilities}
        if result.ratings is not None:
            tables["ratings"] = result.ratings
        np.savez(file, fields=np.frombuffer(text.encode(), np.uint8), **tables)  # type: ignore[arg-type]


def load_result(path: Path) -> FitResult:
    """Read a result. Raises StoreError for a corrupt file."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            fields = json.loads(stored["fields"].tobytes())
            history = tuple(Epoch(**row) for row in fields.pop("history"))
            tables = {name: stored[name] for name in stored.files if name != "fields"}
            return FitResult(**fields, history=history, **tables)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise StoreError(f"{path}: corrupt fit result ({error}); delete the file to recompute it") from None


def fold_score(data: Dataset, fold: Fold, result: FitResult) -> FoldScore:
    """Score a result on the test group of its fold."""
    rows = fold.test_rows
    scores: dict[str, Any] = {"ua": None, "wa": None, "f1": None}
    if data.classes:
        counts = confusion(data.labels[rows].numpy(), result.probabilities.argmax(1), len(data.classes))
        for name, score in (("ua", unweighted_accuracy), ("wa", weighted_accuracy), ("f1", macro_f1)):
            scores[name] = float(score(counts))
    if result.ratings is not None and data.targets.ratings is not None:
        truth = data.targets.ratings[rows].numpy()
        scores["ratings"] = group_scores(truth, result.ratings, data.targets.dimensions)
    return FoldScore(
        seed=result.seed,
        fold=fold.number,
        test=fold.test,
        dev=fold.dev,
        epoch=result.epoch or 0,
        n=len(rows),
        **scores,
    )


def probability_table(
    data: Dataset, folds: CrossValidation, results: Sequence[FitResult], seed: int
) -> NDArray[np.float32]:
    """Collect a seed's test probabilities of all folds: (n, c), NaN for utterances that no fold tests."""
    table = np.full((len(data), len(data.classes)), np.nan, np.float32)
    for result in results:
        if result.seed == seed:
            table[folds.folds[result.fold - 1].test_rows.numpy()] = result.probabilities
    return table


def rating_table(data: Dataset, folds: CrossValidation, results: Sequence[FitResult], seed: int) -> NDArray[np.float32]:
    """Collect a seed's predicted ratings of all folds: (n, k), NaN for utterances that no fold tests."""
    table = np.full((len(data), len(data.targets.dimensions)), np.nan, np.float32)
    for result in results:
        if result.seed == seed and result.ratings is not None:
            table[folds.folds[result.fold - 1].test_rows.numpy()] = result.ratings
    return table
