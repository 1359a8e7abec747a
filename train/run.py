"""`foal train` from top to bottom: features in, a folder of results out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..shared.config.settings import Settings
from .data.dataset import Dataset, opened
from .data.protocol import Split, check_classes, split
from .fit.device import chosen_device, deterministic
from .fit.history import Epoch
from .fit.task import FitResult, FitTask, FoldScore, probability_table, run_fit, score_of
from .metrics.classification import pooled_scores
from .report.files import notes_on, read_metrics, title_of, versions, write_history, write_json, write_predictions
from .report.plots import plot_confusion, plot_learning
from .report.run_folder import FITS, RUN, check_same, new_run, unfinished_run

OUR_FILES = frozenset(
    {"metrics.json", RUN, "predictions.csv", "history.csv", "confusion.png", "learning.png", "models", "evaluation"}
    | {".gitignore"}
)
"""What a run holds; .gitignore is DVC's."""


def train(
    settings: Settings,
    features: Path,
    out: Path,
    *,
    resume: bool = False,
    parallel: bool = False,
    progress: Callable[[Epoch | FoldScore], None] = lambda step: None,
) -> dict[str, Any]:
    """Train and test every fold with every seed, write everything into `out`, give back what metrics.json says.

    With `resume` fits that an unfinished run of the same configuration has done are not done again, and a finished one
    is given back. `parallel`: the fits are tasks of Dask workers. `progress` hears of every epoch (unless parallel)
    and every fold. Raises TrainingError if the features do not allow this training, StoreError if they cannot be read;
    then nothing is left behind.
    """
    t = settings.train
    device = chosen_device(settings.cluster.device)
    # Where workers do the work, nothing is read here.
    reading = t.model_copy(update={"load": "disk" if parallel else t.load})
    with (
        deterministic(device, settings.cluster.threads),
        opened(features, reading, classes=settings.corpus.classes) as data,
    ):
        folds = split(data.utterances, t.protocol, data.speakers)
        check_classes(folds.folds, data.labels, data.classes)
        about = about_run(settings, data, folds, device)
        if resume and not unfinished_run(out.resolve()).exists() and (out / RUN).exists():
            check_same(out / RUN, about, f"{out}: the finished run")
            return read_metrics(out)
        with new_run(out, about, ours=OUR_FILES, resume=resume) as folder:
            tasks = [
                FitTask(
                    kind="network",
                    settings=t,
                    seed=seed,
                    fold=fold.number,
                    folder=folder / FITS,
                    model=folder / "models" / f"seed{seed}-fold{fold.number}",
                    about=about,
                )
                for seed in about["seeds"]
                for fold in folds.folds
            ]
            results: dict[int, FitResult] = {}
            done = _in_parallel(settings, features, data, tasks) if parallel else range(len(tasks))
            there = data if parallel else data.to(device)
            heard: Callable[[Epoch], None] = (lambda epoch: None) if parallel else progress
            for place in done:
                # After a worker has done it, this reads its result.
                results[place] = run_fit(tasks[place], there, folds, device, progress=heard)
                progress(score_of(data, folds.folds[tasks[place].fold - 1], results[place]))
            in_order = [results[place] for place in range(len(tasks))]
            return _write_all(folder, settings, data, folds, about, in_order)


def _in_parallel(settings: Settings, features: Path, data: Dataset, tasks: Sequence[FitTask]) -> Iterator[int]:
    from .fit.parallel import fits_in_parallel

    return fits_in_parallel(settings, features, list(data.names), tasks)


def about_run(settings: Settings, data: Dataset, folds: Split, device: torch.device) -> dict[str, Any]:
    """What every file of results says of itself: protocol, features, folds, seeds, versions, settings."""
    t = settings.train
    paired = len(data.names) > 1
    return {
        "protocol": folds.protocol,
        "selected_on_test": folds.selected_on_test,
        "features": data.digest,
        "splits": folds.digest,
        "random_weights": data.random_weights,
        "modalities": t.modalities,
        "streams": list(data.names.values()),
        "avel": t.avel and paired,
        "mem": t.mem and paired,
        "compat": list(t.compat) if paired else [],
        "classes": list(data.classes),
        "n": len(folds.tested),
        "seeds": list(dict.fromkeys(t.seeds)),
        "versions": versions(),
        "settings": t.model_dump(mode="json"),
        "provenance": dict(data.provenance),
        "rates": dict(data.rates),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "groups": {
            "kind": folds.kind,
            "names": sorted(set(folds.groups)),
            "corpora": sorted({u.corpus for u in data.utterances}),
        },
        "splits_of_folds": [{"fold": fold.number, "test": fold.test, "dev": fold.dev} for fold in folds.folds],
    }


IN_METRICS = (
    "protocol",
    "selected_on_test",
    "features",
    "splits",
    "random_weights",
    "modalities",
    "streams",
    "avel",
    "mem",
    "compat",
    "classes",
    "n",
    "seeds",
    "versions",
)


def _write_all(
    folder: Path, settings: Settings, data: Dataset, folds: Split, about: dict[str, Any], results: Sequence[FitResult]
) -> dict[str, Any]:
    tested = folds.tested
    tables = {seed: probability_table(data, folds, results, seed)[tested.numpy()] for seed in about["seeds"]}
    predicted = np.stack([table.argmax(1) for table in tables.values()])
    speakers = [data.speakers[row] for row in tested]
    scores = pooled_scores(
        data.labels[tested].numpy(), predicted, speakers, classes=data.classes, resamples=settings.train.bootstrap
    )
    folds_scored = [asdict(score_of(data, folds.folds[result.fold - 1], result)) for result in results]
    metrics = {
        **{key: about[key] for key in IN_METRICS},
        "folds": folds_scored,
        **scores,
        "notes": [*data.notes, *notes_on(data, folds)],
    }
    history = [epoch for result in results for epoch in result.history]
    write_json(folder / "metrics.json", metrics)
    write_predictions(folder / "predictions.csv", data, tested, tables, folds.groups)
    write_history(folder / "history.csv", history)
    plot_confusion(folder / "confusion.png", metrics, title=title_of(metrics))
    best = {(result.seed, result.fold): result.epoch or 1 for result in results}
    plot_learning(folder / "learning.png", history, best, title=title_of(metrics))
    return metrics
