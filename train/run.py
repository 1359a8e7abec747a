"""`foal train`: features in, a folder of results out.

The flow: open the features; build the folds; fit every fold with every seed, here or on Dask workers; pool and write.
"""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..shared.config.settings import Settings
from ..shared.config.train_settings import LABEL
from ..shared.parallel.device import select_device
from ..shared.store.feature_store import FeatureStore
from .data.dataset import Dataset, open_dataset, target_rows
from .data.fold_features import FoldDatasets, fold_settings, run_stream_names, tested_groups, with_fold_streams
from .data.protocol import CrossValidation, cross_validation_of, resolve_protocol
from .final.run import add_final_models, add_to_finished_run, check_final
from .fit.checks import check_fusion, check_targets
from .fit.device import deterministic
from .fit.history import Epoch, write_history
from .fit.scores import class_metrics, rating_metrics
from .fit.task import FitResult, FitTask, FoldScore, fold_score, probability_table, rating_table, run_task
from .floor.inertia import label_inertia
from .metrics.matching import mem_training
from .report.files import (
    corpora_seen,
    fold_streams_json,
    head_json,
    selection_warnings,
    versions,
    warnings_for,
    write_predictions,
)
from .report.formatting import modalities_word
from .report.plots import plot_confusion, plot_learning, plot_ratings
from .report.results import read_metrics, run_title, write_json
from .report.run_folder import (
    FITS,
    LOG_FILE,
    METADATA_FILE,
    METRICS_FILE,
    REPORT_FILE,
    create_run_folder,
    has_same_config,
    is_finished,
    require_same_config,
    unfinished_run,
)

log = logging.getLogger(__name__)

RUNS = Path("runs")
HEADS = {"cross-attention": "foalnet"}
"""Names of heads in those of run folders, where they differ from the settings."""
OUR_FILES = frozenset(
    {
        METRICS_FILE,
        METADATA_FILE,
        LOG_FILE,
        REPORT_FILE,
        "predictions.csv",
        "history.csv",
        "confusion.png",
        "ratings.png",
        "learning.png",
    }
    | {"models", "evaluation", ".gitignore"}
)
"""Names of the files in a run's folder; .gitignore is written by DVC."""


def train(
    settings: Settings,
    features: Path,
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    parallel: bool = False,
    final: bool = False,
    progress: Callable[[Epoch | FoldScore], None] = lambda step: None,
) -> dict[str, Any]:
    """Train and test every fold with every seed, and write the results.

    Args:
        settings: settings of training, of the cluster and of the corpus (classes).
        features: feats.h5.
        out: folder of the run.
        resume: continue an interrupted run of the same configuration; return the results of a finished one.
        force: replace a finished run, and discard an interrupted one that is not continued.
        parallel: run the fits as tasks of Dask workers.
        final: also train one network per seed on all utterances, here; with `resume` those of a finished run.
        progress: called for every epoch (unless parallel) and every fold.

    Returns:
        The content of metrics.json.

    Raises:
        TrainingError: the features do not allow this training; nothing is written then.
        StoreError: the features cannot be read.
        FoalError: a run exists in `out`.
    """
    t = settings.train
    if final:
        check_final(t)
    device = select_device(settings.cluster.device)
    # 1. Open the features; with workers, only they read the values.
    reading = t.model_copy(update={"load": "disk" if parallel else t.load})
    with (
        deterministic(device, settings.cluster.threads),
        open_dataset(features, reading, classes=settings.corpus.classes) as opened,
        FoldDatasets(features, reading, classes=settings.corpus.classes, device=device) as fold_datasets,
    ):
        # 2. Build the folds.
        folds = cross_validation_of(t, opened.utterances, opened.speakers)
        data = with_fold_streams(opened, features, t, tested_groups(folds.folds))
        check_targets(data, folds)
        check_fusion(data, t)
        metadata = run_metadata(settings, data, folds, device)
        if resume and is_finished(out) and not unfinished_run(out.resolve()).exists():
            if not force:
                require_same_config(out / METADATA_FILE, metadata, f"{out}: the finished run")
            if has_same_config(out / METADATA_FILE, metadata):
                if not final:
                    return read_metrics(out)
                return add_to_finished_run(out, OUR_FILES, t, data, metadata, device=device, progress=progress)
        with create_run_folder(out, metadata, ours=OUR_FILES, resume=resume, force=force) as folder:
            # 3. Fit.
            log.debug("%d utterances, %d folds, seeds %s", metadata["n"], len(folds.folds), metadata["seeds"])
            tasks = [
                FitTask(
                    settings=fold_settings(t, fold.number, fold.test),
                    seed=seed,
                    fold=fold.number,
                    folder=folder / FITS,
                    model=folder / "models" / f"seed{seed}-fold{fold.number}",
                    metadata=metadata,
                )
                for seed in metadata["seeds"]
                for fold in folds.folds
            ]
            tasks.sort(key=lambda task: task.fold if t.fold_features else 0)  # the features of a fold are read once
            results: dict[tuple[int, int], FitResult] = {}
            finished = _in_parallel(settings, features, tasks) if parallel else range(len(tasks))
            fit_data = data if parallel else data.to(device)
            on_epoch: Callable[[Epoch], None] = (lambda epoch: None) if parallel else progress
            for position in finished:
                # If a worker has run the task, this reads its result.
                open_data = fold_datasets.open if t.fold_features else None
                result = run_task(tasks[position], fit_data, folds, device, open_data=open_data, progress=on_epoch)
                results[result.seed, result.fold] = result
                score = fold_score(data, folds.folds[tasks[position].fold - 1], result)
                log.debug("%s", score.to_json())
                progress(replace(score, position=(len(results), len(tasks))))
            # 4. Pool and write.
            ordered = [results[seed, fold.number] for seed in metadata["seeds"] for fold in folds.folds]
            metrics = _write_all(folder, settings, data, folds, metadata, ordered)
            if final:
                metrics = add_final_models(folder, t, fit_data, metadata, metrics, device=device, progress=progress)
            return metrics


def default_run_folder(settings: Settings, features: Path) -> Path:
    """The folder of a run without --out: head, streams, protocol, and a hash of the configuration and the features.

    Different configurations get different folders, and the same command gets the same folder again.
    """
    t = settings.train
    head = HEADS.get(t.fusion, t.fusion)
    with FeatureStore(features) as store:
        streams = list(run_stream_names(store, t).values())
        classes, _, rows = target_rows(store, t, settings.corpus.classes)
        protocol = resolve_protocol([store.utterances[row] for row in rows], t.protocol)
        content = [head, t.model_dump(mode="json"), streams, protocol, classes, store.digest]
    digest = blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=4).hexdigest()
    names = "+".join(stream.replace("/", "_").replace("{", "").replace("}", "") for stream in streams)
    return RUNS / f"{head}-{names}-{protocol}-{digest}"


def _in_parallel(settings: Settings, features: Path, tasks: Sequence[FitTask]) -> Iterator[int]:
    # Imported late: it imports distributed.
    from .fit.parallel import run_in_parallel

    return run_in_parallel(settings, features, tasks)


def run_metadata(settings: Settings, data: Dataset, folds: CrossValidation, device: torch.device) -> dict[str, Any]:
    """The content of run.json: protocol, features, folds, seeds, versions, settings; JSON values."""
    t = settings.train
    aligned = len(data.stream_names) > 1 and not t.over_dialogs
    return {
        "protocol": folds.protocol,
        "selected_on_test": folds.selected_on_test,
        "features": data.digest,
        "folds_digest": folds.digest,
        "random_weights": data.random_weights,
        "speaker_statistics": data.speaker_statistics is not None,
        "encoder_saw_corpus": bool(corpora_seen(data)),
        "modalities": modalities_word(list(data.stream_names)),
        "streams": list(data.stream_names.values()),
        "fold_streams": fold_streams_json(data),
        **head_json(t),
        # Without a target the classes are learned, as in runs of earlier versions.
        **({} if t.target == (LABEL,) else {"target": list(t.target)}),
        "avel": t.avel and aligned and t.has_classes,
        "mem": t.mem and aligned and t.has_classes,
        "compat": list(t.compat) if aligned and t.has_classes else [],
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
            "sessions": sorted({u.session for u in data.utterances}),
            "scene_groups": {name: list(scenes) for name, scenes in folds.scene_groups.items()},
        },
        "fold_groups": [{"fold": fold.number, "test": fold.test, "dev": fold.dev} for fold in folds.folds],
    }


KEYS_IN_METRICS = (
    "protocol",
    "selected_on_test",
    "features",
    "folds_digest",
    "random_weights",
    "speaker_statistics",
    "encoder_saw_corpus",
    "modalities",
    "streams",
    "fold_streams",
    "fusion",
    "context",
    "reads_future",
    "target",
    "avel",
    "mem",
    "compat",
    "classes",
    "n",
    "seeds",
    "versions",
)
"""Keys of run.json that metrics.json repeats, as far as they exist."""


def _write_all(
    folder: Path,
    settings: Settings,
    data: Dataset,
    folds: CrossValidation,
    metadata: dict[str, Any],
    results: Sequence[FitResult],
) -> dict[str, Any]:
    tested = folds.tested
    tables = {seed: probability_table(data, folds, results, seed)[tested.numpy()] for seed in metadata["seeds"]}
    ratings = {seed: rating_table(data, folds, results, seed)[tested.numpy()] for seed in metadata["seeds"]}
    resamples = settings.train.bootstrap
    own_pairs = "own-pairs" in metadata["compat"]
    mem_losses = [result.history[-1].loss_mem for result in results if result.history and metadata["mem"]]
    metrics = {
        **{key: metadata[key] for key in KEYS_IN_METRICS if key in metadata},
        "folds": [fold_score(data, folds.folds[result.fold - 1], result).to_json() for result in results],
        **(class_metrics(data, folds, np.stack(list(tables.values())), resamples) if data.classes else {}),
        **rating_metrics(data, tested, np.stack(list(ratings.values())), resamples),
        **({"label_inertia": label_inertia(data)} if settings.train.over_dialogs else {}),
        **({"mem_training": mem_training(mem_losses, own_pairs=own_pairs)} if mem_losses else {}),
        "warnings": [
            *data.warnings,
            *warnings_for(data, folds),
            *selection_warnings(data, folds, settings.train.select, results),
        ],
    }
    history = [epoch for result in results for epoch in result.history]
    write_json(folder / METRICS_FILE, metrics)
    write_predictions(folder / "predictions.csv", data, tested, tables, folds.groups, ratings)
    write_history(folder / "history.csv", history)
    if data.classes:
        plot_confusion(folder / "confusion.png", metrics, title=run_title(metrics))
    if data.targets.ratings is not None:
        truth, mean = data.targets.ratings[tested].numpy(), np.mean(list(ratings.values()), axis=0)
        plot_ratings(folder / "ratings.png", truth, mean, metrics, title=run_title(metrics))
    best = {(result.seed, result.fold): result.epoch or 1 for result in results}
    chance = metrics.get("mem_training", {}).get("chance")
    plot_learning(folder / "learning.png", history, best, title=run_title(metrics), mem_chance=chance)
    return metrics
