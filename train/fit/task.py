"""One fit, of a network or of a logistic regression, as a task; its result on disk, so that it is never done twice."""

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
from ...shared.errors import StoreError
from ...shared.files.atomic import replaced_atomically
from ..data.dataset import Dataset, wanted_modalities
from ..data.protocol import Fold, Split
from ..metrics.classification import confusion, macro_f1, unweighted_accuracy, weighted_accuracy
from ..model.checkpoint import save_model
from .history import Epoch
from .logistic_regression import regress
from .loop import fit
from .predict import predict

ALGORITHM = 2
"""Raised whenever the same settings give other numbers than before: fits that are done no longer count then."""
HARMLESS = {"seeds", "protocol", "bootstrap"}
"""Settings that are no part of a fit: they change its numbers in the last bits at most, or are told apart elsewhere."""


@dataclass(frozen=True, kw_only=True)
class FitTask:
    """One seed and fold (its number) of a system; `folder` is where its result goes, `model` where its network does."""

    kind: Literal["network", "regression"]
    settings: TrainSettings
    seed: int
    fold: int
    folder: Path
    model: Path | None = None
    about: Mapping[str, Any] | None = None

    def path(self, data: Dataset, split: Split) -> Path:
        """The file of its result, named after a hash of everything that the result depends on.

        `data` may hold more modalities than the task wants, `split` is its protocol's.
        """
        settings = self.settings.model_dump(mode="json", exclude=HARMLESS)
        names = {name: data.names[name] for name in wanted_modalities(self.settings)}
        what = [ALGORITHM, self.kind, settings, self.seed, self.fold, data.digest, names, data.classes, split.digest]
        key = blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=12).hexdigest()
        return self.folder / f"{key}.npz"


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """Probabilities (m, c) of the fold's test rows by the network after its best epoch; a regression has no epochs."""

    seed: int
    fold: int
    epoch: int | None
    seconds: float
    history: tuple[Epoch, ...]
    probabilities: NDArray[np.float32]


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


def run_fit(
    task: FitTask,
    data: Dataset,
    split: Split,
    device: torch.device,
    *,
    progress: Callable[[Epoch], None] = lambda epoch: None,
) -> FitResult:
    """The result of a task: the one that is there, or a new one, which is there from then on.

    `data` may hold more modalities than the task wants.
    """
    path = task.path(data, split)
    data = data.only(wanted_modalities(task.settings), task.settings.max_seconds)
    if path.exists() and (task.model is None or task.model.exists()):
        result = load_result(path)
        for epoch in result.history:
            progress(epoch)
        return result
    began = time.monotonic()
    fold = split.folds[task.fold - 1]
    if task.kind == "regression":
        result = FitResult(
            seed=task.seed,
            fold=task.fold,
            epoch=None,
            history=(),
            probabilities=regress(data, fold),
            seconds=time.monotonic() - began,
        )
    else:
        snapshot = path.with_suffix(".state")
        fitted = fit(data, fold, task.settings, seed=task.seed, device=device, progress=progress, snapshot=snapshot)
        wide = 4 * task.settings.batch_size
        result = FitResult(
            seed=task.seed,
            fold=task.fold,
            epoch=fitted.epoch,
            history=fitted.history,
            probabilities=predict(fitted.model, data, fold.test_rows, batch_size=wide, device=device).numpy(),
            seconds=time.monotonic() - began,
        )
        if task.model is not None:
            score = asdict(score_of(data, fold, result))
            save_model(task.model, fitted.model, {**(task.about or {}), "score": score})
    save_result(path, result)
    path.with_suffix(".state").unlink(missing_ok=True)
    return result


def save_result(path: Path, result: FitResult) -> None:
    """One file without pickles: an array, and JSON beside it."""
    about = {"seed": result.seed, "fold": result.fold, "epoch": result.epoch, "seconds": result.seconds}
    text = json.dumps({**about, "history": [asdict(row) for row in result.history]})
    with replaced_atomically(path) as temporary, temporary.open("wb") as file:
        np.savez(file, probabilities=result.probabilities, about=np.frombuffer(text.encode(), np.uint8))


def load_result(path: Path) -> FitResult:
    """Raises StoreError for a file that is damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            about = json.loads(stored["about"].tobytes())
            history = tuple(Epoch(**row) for row in about.pop("history"))
            return FitResult(**about, history=history, probabilities=stored["probabilities"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise StoreError(f"{path}: a damaged result of a fit ({error}); remove it, and it is made again") from None


def score_of(data: Dataset, fold: Fold, result: FitResult) -> FoldScore:
    """What a result says of its test group."""
    labels = data.labels[fold.test_rows].numpy()
    counts = confusion(labels, result.probabilities.argmax(1), len(data.classes))
    return FoldScore(
        seed=result.seed,
        fold=fold.number,
        test=fold.test,
        dev=fold.dev,
        epoch=result.epoch or 0,
        n=len(labels),
        ua=float(unweighted_accuracy(counts)),
        wa=float(weighted_accuracy(counts)),
        f1=float(macro_f1(counts)),
    )


def probability_table(
    data: Dataset, folds: Split, results: Sequence[FitResult], seed: int
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """What a seed's folds say of the utterances that they test: (n, c), NaN elsewhere."""
    table = np.full((len(data), len(data.classes)), np.nan, np.float32)
    for result in results:
        if result.seed == seed:
            table[folds.folds[result.fold - 1].test_rows.numpy()] = result.probabilities
    return table
