"""`foal ablate` from top to bottom: every system over every fold and seed, side by side, in one table."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...shared.config.settings import MODALITIES, Settings, modality_of
from ...shared.config.train_settings import TrainSettings
from ...shared.store.feature_store import FeatureStore
from ..data.dataset import Dataset, opened
from ..data.protocol import Split, check_classes, split
from ..fit.parallel import fits_in_parallel
from ..fit.task import FitResult, FitTask, load_result, probability_table
from ..metrics.classification import counts_by_speaker, mean_ua, pooled_scores
from ..metrics.significance import bootstrap_gain, paired_permutation
from ..report.ablation import plot_ablation, write_markdown
from ..report.files import notes_on, versions, write_json
from ..report.run_folder import FITS, kept_folder
from .systems import BASELINE, System, systems_for

OUR_FILES = frozenset({"ablation.json", "ablation.md", "ablation.png", FITS, ".gitignore"})


def ablate(
    settings: Settings,
    features: Path,
    out: Path,
    *,
    deviations: bool = False,
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> dict[str, Any]:
    """Fit all systems, compare them, write ablation.json, .md and .png into `out`, and give back what the first says.

    The fits are Dask tasks. Their results stay in `out`, and a fit that is done is not done again, neither after an
    interruption nor with more seeds. `progress` hears how many are done, of how many, and of which system the last was.
    Raises TrainingError if the features do not allow it, UsageError if `out` holds something else.
    """
    t = settings.train
    modalities = _modalities(features, t)
    # Nothing is read here but the index: the workers read.
    with opened(
        features, t.model_copy(update={"stream": True}), classes=settings.corpus.classes, modalities=modalities
    ) as data:
        folds = split(data.utterances, t.protocol, data.speakers)
        check_classes(folds.folds, data.labels, data.classes)
        systems = systems_for(modalities, folds.protocol, deviations=deviations)
        seeds = list(dict.fromkeys(t.seeds))
        with kept_folder(out, OUR_FILES) as folder:
            (folder / FITS).mkdir(exist_ok=True)
            others = {system.protocol for system in systems if system.protocol is not None} - {folds.protocol}
            splits = {protocol: split(data.utterances, protocol, data.speakers) for protocol in others}
            splits[folds.protocol] = folds
            tasks = {
                system.key: _tasks(system, t, folds, seeds, folder / FITS)
                for system in systems
                if system.kind in ("network", "regression")
            }
            paths = _run(settings, features, data, modalities, tasks, splits, progress)
            results = {key: [load_result(path) for path in some] for key, some in paths.items()}
            tables = {
                system.key: _tables(system, data, splits[system.protocol or folds.protocol], results, seeds)
                for system in systems
                if system.kind != "late"
            }
            for system in systems:
                if system.kind == "late":
                    tables[system.key] = np.mean([tables[part] for part in system.parts], axis=0)
            ablation = _compared(systems, tables, results, data, folds, splits, settings, seeds)
            write_json(folder / "ablation.json", ablation)
            write_markdown(folder / "ablation.md", ablation)
            plot_ablation(folder / "ablation.png", ablation)
    return ablation


def _modalities(features: Path, settings: TrainSettings) -> list[str]:
    """Both if the features have both (or the settings want both), else the one there is."""
    if settings.modalities != "both":
        return [settings.modalities]
    with FeatureStore(features) as store:
        there = {modality_of(name) for name in store.streams}
    return [modality for modality in MODALITIES if modality in there] or list(MODALITIES)


def _tasks(system: System, base: TrainSettings, folds: Split, seeds: Sequence[int], folder: Path) -> list[FitTask]:
    return [
        FitTask(
            kind="regression" if system.kind == "regression" else "network",
            settings=system.settings(base, folds.protocol),
            seed=seed,
            fold=fold.number,
            folder=folder,
        )
        for seed in (seeds if system.seeded else [0])
        for fold in folds.folds
    ]


def _run(
    settings: Settings,
    features: Path,
    data: Dataset,
    modalities: Sequence[str],
    tasks: dict[str, list[FitTask]],
    splits: dict[Any, Split],
    progress: Callable[[int, int, str], None],
) -> dict[str, list[Path]]:
    """Do what is not done yet; gives the results' files by system. Systems that share a fit do it once."""
    paths = {key: [task.path(data, splits[task.settings.protocol]) for task in some] for key, some in tasks.items()}
    left = {
        path: (key, task)
        for key in tasks
        for path, task in zip(paths[key], tasks[key], strict=True)
        if not path.exists()
    }
    total = len({path for some in paths.values() for path in some})
    done = total - len(left)
    progress(done, total, "")
    if left:
        keys, todo = zip(*left.values(), strict=True)
        for place in fits_in_parallel(settings, features, modalities, todo):
            done += 1
            progress(done, total, keys[place])
    return paths


def _tables(
    system: System, data: Dataset, folds: Split, results: dict[str, list[FitResult]], seeds: Sequence[int]
) -> NDArray[np.float32]:
    """Probabilities (seeds, n, c) of a system; one seed where nothing is random."""
    if system.kind == "majority":
        table = np.zeros((1, len(data), len(data.classes)), np.float32)
        for fold in folds.folds:
            most = int(torch.bincount(data.labels[fold.train_rows]).argmax())
            table[0, fold.test_rows.numpy(), most] = 1
        return table
    of_system = results[system.key]
    return np.stack([probability_table(data, folds, of_system, seed) for seed in (seeds if system.seeded else [0])])


def _compared(
    systems: Sequence[System],
    tables: dict[str, NDArray[np.float32]],
    results: dict[str, list[FitResult]],
    data: Dataset,
    folds: Split,
    splits: dict[Any, Split],
    settings: Settings,
    seeds: Sequence[int],
) -> dict[str, Any]:
    tested = folds.tested.numpy()
    labels = data.labels.numpy()[tested]
    speakers = [data.speakers[row] for row in tested]
    predicted = {key: table[:, tested].argmax(-1) for key, table in tables.items()}
    counts = {key: counts_by_speaker(labels, some, speakers, len(data.classes)) for key, some in predicted.items()}
    baseline = BASELINE if BASELINE in counts else systems[-1].key
    rows = []
    for system in systems:
        scores = pooled_scores(
            labels, predicted[system.key], speakers, classes=data.classes, resamples=settings.train.bootstrap
        )
        del scores["confusion"]
        against = system.key != baseline
        gain = mean_ua(counts[system.key]) - mean_ua(counts[baseline])
        fits = results.get(system.key, [])
        epochs = [fit.epoch for fit in fits if fit.epoch is not None]
        of_protocol = splits[system.protocol or folds.protocol]
        rows.append(
            {
                "key": system.key,
                "name": system.name,
                "what": system.what,
                "protocol": of_protocol.protocol,
                "selected_on_test": of_protocol.selected_on_test,
                "seeds": len(tables[system.key]),
                **scores,
                "epoch_mean": float(np.mean(epochs)) if epochs else None,
                "seconds": float(np.mean([fit.seconds for fit in fits])) if fits else None,
                "gain": gain if against else None,
                "gain_ci95": bootstrap_gain(counts[system.key], counts[baseline], resamples=settings.train.bootstrap)
                if against
                else None,
                "p": paired_permutation(counts[system.key], counts[baseline]) if against else None,
            }
        )
    # Every tested utterance has a probability from every system.
    assert not any(np.isnan(table[:, tested]).any() for table in tables.values())
    return {
        "protocol": folds.protocol,
        "selected_on_test": folds.selected_on_test,
        "features": data.digest,
        "splits": folds.digest,
        "seeds": list(seeds),
        "classes": list(data.classes),
        "n": len(tested),
        "speakers": len(set(speakers)),
        "random_weights": data.random_weights,
        "versions": versions(),
        "streams": list(data.names.values()),
        "settings": settings.train.model_dump(mode="json"),
        "baseline": baseline,
        "notes": [*data.notes, *notes_on(data, folds)],
        "rows": rows,
    }
