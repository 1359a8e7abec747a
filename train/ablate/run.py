"""`foal ablate`: fit every system on every fold and seed, side by side, and compare them in one table.

The flow: open the index; list the systems and their fits; run the missing fits on Dask workers; build each system's
table of probabilities; compare with the baseline; write the results.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...shared.cli.logs import log_file
from ...shared.config.settings import Settings, modality_of
from ...shared.config.train_settings import LABEL, Protocol, TrainSettings
from ...shared.errors import UsageError
from ...shared.store.feature_store import FeatureStore
from ..data.dataset import Dataset, open_dataset
from ..data.fold_features import tested_groups, with_fold_streams
from ..data.protocol import CrossValidation, build_cross_validation, check_classes, cross_validation_of
from ..fit.parallel import run_missing
from ..fit.task import FitResult, load_result, probability_table
from ..floor.folds import ScriptFloor, floor_json, script_floor
from ..floor.inertia import label_inertia
from ..metrics.classification import Counts, counts_by_speaker, mean_ua, pooled_scores
from ..metrics.significance import paired_comparison
from ..report.ablation import plot_ablation, write_markdown
from ..report.files import corpora_seen, fold_streams_json, versions, warnings_for, write_json
from ..report.run_folder import FITS, LOG_FILE, reuse_run_folder
from .ratings import ablate_ratings
from .script_rows import script_table, with_script_rows
from .systems import BASELINE, PROPOSED, System, fit_tasks, systems_for

OUR_FILES = frozenset({"ablation.json", "ablation.md", "ablation.png", FITS, LOG_FILE, ".gitignore"})

Tables = Mapping[str, NDArray[np.float32]]
"""Probabilities (seeds, n, c) by system id."""


@dataclass(frozen=True, kw_only=True)
class _Study:
    """What all systems share: settings, seeds, dataset, folds of the protocol and of others, and the script floor."""

    settings: TrainSettings
    seeds: Sequence[int]
    data: Dataset
    folds: CrossValidation
    folds_by_protocol: Mapping[Protocol | None, CrossValidation]
    floor: ScriptFloor | None

    def folds_of(self, system: System) -> CrossValidation:
        """The folds on which a system is fitted."""
        return self.folds_by_protocol[system.protocol or self.folds.protocol]


def ablate(
    settings: Settings,
    features: Path,
    out: Path,
    *,
    deviations: bool = False,
    force: bool = False,
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> dict[str, Any]:
    """Fit and compare all systems; write ablation.json, ablation.md and ablation.png.

    The fits are Dask tasks whose results stay in `out`: a finished fit is reused after an interruption and when seeds
    are added. With ratings as targets, see `ablate_ratings`.

    Args:
        settings: settings of training, of the cluster and of the corpus (classes).
        features: feats.h5.
        out: folder of the results.
        deviations: add one system per deviation of the reference code.
        force: write into `out` even if it contains other files.
        progress: called with the number of finished fits, of all fits, and the id of the system of the last fit.

    Returns:
        The content of ablation.json.

    Raises:
        TrainingError: the features do not allow the study.
        UsageError: the head reads dialogs, or `out` contains other files.
    """
    if settings.train.over_dialogs:
        raise UsageError(
            f"foal ablate removes parts of Foal-Net, which train.fusion: {settings.train.fusion} does not have; set "
            "train.fusion: cross-attention, and compare runs of `foal train` with `foal results RUN --against RUN`"
        )
    t = _with_available_streams(settings.train, features)
    settings = settings.model_copy(update={"train": t})
    if t.target != (LABEL,):
        return ablate_ratings(settings, features, out, ours=OUR_FILES, force=force, progress=progress)
    # Only the index is read here; the workers read the values.
    reading = t.model_copy(update={"load": "disk"})
    with open_dataset(features, reading, classes=settings.corpus.classes) as opened:
        folds = cross_validation_of(t, opened.utterances, opened.speakers)
        data = with_fold_streams(opened, features, t, tested_groups(folds.folds))
        check_classes(folds.folds, data.labels, data.classes)
        floor = script_floor(data, folds)
        systems = systems_for(list(data.stream_names), folds.protocol, deviations=deviations)
        systems = with_script_rows(systems, floor)
        folds_by_protocol: dict[Protocol | None, CrossValidation] = {folds.protocol: folds}
        for system in systems:
            if system.protocol is not None and system.protocol not in folds_by_protocol:
                folds_by_protocol[system.protocol] = build_cross_validation(
                    data.utterances, system.protocol, data.speakers
                )
        study = _Study(
            settings=t,
            seeds=list(dict.fromkeys(t.seeds)),
            data=data,
            folds=folds,
            folds_by_protocol=folds_by_protocol,
            floor=floor,
        )
        with reuse_run_folder(out, OUR_FILES, force=force) as folder, log_file(folder / LOG_FILE):
            (folder / FITS).mkdir(exist_ok=True)
            tasks = fit_tasks(systems, t, folds, study.seeds, folder / FITS)
            paths = run_missing(settings, features, data, folds_by_protocol, tasks, progress)
            results = {name: [load_result(path) for path in files] for name, files in paths.items()}
            ablation = _compare(study, systems, _all_tables(study, systems, results), results)
            write_json(folder / "ablation.json", ablation)
            write_markdown(folder / "ablation.md", ablation)
            plot_ablation(folder / "ablation.png", ablation)
    return ablation


def _with_available_streams(settings: TrainSettings, features: Path) -> TrainSettings:
    """The settings; with the default streams without those of modalities that the features lack."""
    if settings.streams != TrainSettings().streams:
        return settings
    with FeatureStore(features) as store:
        available = {modality_of(name) for name in store.streams}
    streams = tuple(name for name in settings.streams if name in available)
    return settings.model_copy(update={"streams": streams or settings.streams})


def _all_tables(study: _Study, systems: Sequence[System], results: Mapping[str, Sequence[FitResult]]) -> Tables:
    tables = {system.id: _table(study, system, results) for system in systems if system.kind != "late"}
    for system in systems:
        if system.kind == "late":
            tables[system.id] = np.mean([tables[part] for part in system.parts], axis=0)
    return tables


def _table(study: _Study, system: System, results: Mapping[str, Sequence[FitResult]]) -> NDArray[np.float32]:
    """Probabilities (seeds, n, c) of a system; one seed for a deterministic one."""
    data, folds = study.data, study.folds_of(system)
    if system.kind == "majority":
        table = np.zeros((1, len(data), len(data.classes)), np.float32)
        for fold in folds.folds:
            majority = int(torch.bincount(data.labels[fold.train_rows]).argmax())
            table[0, fold.test_rows.numpy(), majority] = 1
        return table
    if system.kind == "script":
        assert study.floor is not None
        return script_table(system, study.floor, data)
    seeds = study.seeds if system.is_random else [0]
    return np.stack([probability_table(data, folds, results[system.id], seed) for seed in seeds])


def _compare(
    study: _Study, systems: Sequence[System], tables: Tables, results: Mapping[str, Sequence[FitResult]]
) -> dict[str, Any]:
    data, folds = study.data, study.folds
    tested = folds.tested.numpy()
    labels = data.labels.numpy()[tested]
    speakers = [data.speakers[row] for row in tested]
    resamples = study.settings.bootstrap
    predicted = {name: table[:, tested].argmax(-1) for name, table in tables.items()}
    counts = {
        name: counts_by_speaker(labels, classes, speakers, len(data.classes)) for name, classes in predicted.items()
    }
    baseline = BASELINE if BASELINE in counts else systems[-1].id
    rows = []
    for system in systems:
        scores = pooled_scores(labels, predicted[system.id], speakers, classes=data.classes, resamples=resamples)
        del scores["confusion"]
        fits = results.get(system.id, [])
        epochs = [fit.epoch for fit in fits if fit.epoch is not None]
        comparison: dict[str, Any] = {"gain": None, "gain_ci95": None, "p": None}
        if system.id != baseline:
            comparison = paired_comparison(counts[system.id], counts[baseline], resamples=resamples)
        rows.append(
            {
                "id": system.id,
                "name": system.name,
                "description": system.description,
                "protocol": study.folds_of(system).protocol,
                "selected_on_test": study.folds_of(system).selected_on_test,
                "seeds": len(tables[system.id]),
                **scores,
                "epoch_mean": float(np.mean(epochs)) if epochs else None,
                "seconds": float(np.mean([fit.seconds for fit in fits])) if fits else None,
                **comparison,
            }
        )
    verdict = _verdict(systems, counts, resamples)
    # Every tested utterance has probabilities from every system.
    assert not any(np.isnan(table[:, tested]).any() for table in tables.values())
    return {
        "protocol": folds.protocol,
        "selected_on_test": folds.selected_on_test,
        "features": data.digest,
        "folds_digest": folds.digest,
        "seeds": list(study.seeds),
        "classes": list(data.classes),
        "n": len(tested),
        "speakers": len(set(speakers)),
        "random_weights": data.random_weights,
        "encoder_saw_corpus": bool(corpora_seen(data)),
        "versions": versions(),
        "streams": list(data.stream_names.values()),
        "fold_streams": fold_streams_json(data),
        "settings": study.settings.model_dump(mode="json"),
        "baseline": baseline,
        "verdict": verdict,
        "script_floor": floor_json(data, study.floor, tested),
        "label_inertia": label_inertia(data),
        "warnings": [*data.warnings, *warnings_for(data, folds)],
        "rows": rows,
    }


def _verdict(systems: Sequence[System], counts: Mapping[str, Counts], resamples: int) -> dict[str, Any] | None:
    """Compare Foal-Net with the baseline that is best on the test groups; None without either."""
    baselines = [system.id for system in systems if system.baseline is not None]
    if PROPOSED not in counts or not baselines:
        return None
    best = max(baselines, key=lambda name: mean_ua(counts[name]))
    comparison = paired_comparison(counts[PROPOSED], counts[best], resamples=resamples)
    return {"system": PROPOSED, "baseline": best, **comparison}
