"""The comparison of fusion systems: every system, alone and with AVEL and MEM, on the same features, folds and seeds.

The flow is that of the ablation study in `run`; the reference is concat instead of plain cross-attention.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...shared.cli.logs import log_file
from ...shared.config.fusion_settings import DIALOG_HEADS
from ...shared.config.settings import Settings
from ...shared.config.train_settings import LABEL, Context, TrainSettings
from ...shared.errors import DivergedError, TrainingError, UsageError
from ..data.dataset import open_dataset
from ..data.fold_features import tested_groups, with_fold_streams
from ..data.protocol import check_classes, cross_validation_of
from ..fit.parallel import run_missing
from ..fit.task import load_result
from ..floor.folds import floor_json, script_floor
from ..floor.inertia import label_inertia
from ..metrics.classification import Counts
from ..metrics.significance import holm, paired_comparison
from ..report.files import warnings_for
from ..report.fusions.picture import plot_fusions
from ..report.fusions.tables import write_csv, write_latex, write_markdown
from ..report.results import write_json
from ..report.run_folder import FITS, LOG_FILE, reuse_run_folder
from .fusion_rows import REFERENCE, REGRESSION, FusionRows, fusion_rows, parse_fusions
from .run import OUR_FILES, with_available_streams
from .study import Predicted, Results, Study, predict_tested, score_row
from .systems import System, fit_tasks

log = logging.getLogger(__name__)

_TURNS: Mapping[Context, str] = {
    "past": "the turns of a dialog before an utterance",
    "both": "the turns of a dialog before and after an utterance: their results read the future",
    "none": "no other turns of a dialog",
}
"""What heads over dialogs read, by `train.context`."""


def compare_fusions(
    settings: Settings,
    features: Path,
    out: Path,
    fusions: str,
    *,
    budget_minutes: float | None = None,
    force: bool = False,
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> dict[str, Any]:
    """Fit and compare fusion systems; write fusions.json, .md, .csv, .tex and .png.

    Finished fits stay in `out` and are reused, as in `ablate`.

    Args:
        settings: settings of training, of the cluster and of the corpus (classes).
        features: feats.h5.
        out: folder of the results.
        fusions: names of systems, joined by commas, or "all".
        budget_minutes: time after which no further row is started (None: no limit). The rows of concat and of the
            baselines are fitted in any case.
        force: write into `out` even if it contains other files.
        progress: called with the number of finished fits, of all fits, and the id of the system of the last fit.

    Returns:
        The content of fusions.json.

    Raises:
        TrainingError: the features do not allow the study, or a fit of concat diverged.
        UsageError: a system is unknown or not possible, the targets are not labels, or `out` contains other files.
    """
    end = None if budget_minutes is None else time.monotonic() + 60 * budget_minutes
    names = parse_fusions(fusions)
    chosen = settings.train
    if chosen.target != (LABEL,):
        raise UsageError(
            f"--fusions: expected train.target: label, got {', '.join(chosen.target)}; fusion systems are compared by "
            "their UA; leave --fusions out, or set --target label"
        )
    # The dataset is that of heads over utterances; workers open another one for heads over dialogs.
    changes = {"fusion": "cross-attention", "fusion_options": {}, "context": "past"}
    t = with_available_streams(chosen.model_copy(update=changes), features)
    settings = settings.model_copy(update={"train": t})
    reading = t.model_copy(update={"load": "disk"})
    with open_dataset(features, reading, classes=settings.corpus.classes) as opened:
        folds = cross_validation_of(t, opened.utterances, opened.speakers)
        data = with_fold_streams(opened, features, t, tested_groups(folds.folds))
        check_classes(folds.folds, data.labels, data.classes)
        rows = fusion_rows(data, folds, chosen, names)
        study = Study(
            settings=t,
            seeds=list(dict.fromkeys(t.seeds)),
            data=data,
            folds=folds,
            folds_by_protocol={folds.protocol: folds},
            floor=script_floor(data, folds),
        )
        with reuse_run_folder(out, OUR_FILES, force=force) as folder, log_file(folder / LOG_FILE):
            (folder / FITS).mkdir(exist_ok=True)
            tasks = fit_tasks(rows.systems, t, folds, study.seeds, folder / FITS)
            may_start = None if end is None else _within(rows, end)
            diverged: dict[str, str] = {}

            def on_diverged(name: str, error: DivergedError) -> None:
                if name == REFERENCE:
                    raise TrainingError(f"{REFERENCE}, with which all systems are compared: {error}")
                log.warning(f"{name}: {error}")
                diverged.setdefault(name, str(error))

            paths = run_missing(
                settings, features, data, study.folds_by_protocol, tasks, progress, may_start, on_diverged
            )
            finished = {name: files for name, files in paths.items() if all(path.exists() for path in files)}
            results = {name: [load_result(path) for path in files] for name, files in finished.items()}
            comparison = _compare(study, rows, results, _notes(chosen, names, rows), diverged)
            _write_all(folder, comparison)
    return comparison


def _write_all(folder: Path, comparison: Mapping[str, Any]) -> None:
    write_json(folder / "fusions.json", comparison)
    write_markdown(folder / "fusions.md", comparison)
    write_csv(folder / "fusions.csv", comparison)
    write_latex(folder / "fusions.tex", comparison)
    plot_fusions(folder / "fusions.png", comparison)


def _within(rows: FusionRows, end: float) -> Callable[[str], bool]:
    """Whether a row may be started: until `end`, seconds of the monotonic clock, or because all others need it."""
    return lambda name: name == REFERENCE or name not in rows.fusions or time.monotonic() < end


def _notes(settings: TrainSettings, names: Sequence[str] | None, rows: FusionRows) -> list[str]:
    """Warnings about options that do not apply, and about heads that read other turns."""
    notes = []
    if settings.fusion_options and (names is None or len(names) > 1):
        notes.append(
            "train.fusion_options are not used: they apply if --fusions names one system; all have their defaults"
        )
    if dialogs := [name for name in dict.fromkeys(rows.fusions.values()) if name in DIALOG_HEADS]:
        notes.append(f"context {settings.context}: {', '.join(dialogs)} read {_TURNS[settings.context]}")
    return notes


def _compare(
    study: Study, rows: FusionRows, results: Results, notes: Sequence[str], diverged: Mapping[str, str]
) -> dict[str, Any]:
    data = study.data
    systems = [
        system
        for system in rows.systems
        if system.id in results or (system.kind == "late" and all(part in results for part in system.parts))
    ]
    predicted = predict_tested(study, systems, results)
    scored = {system.id: _row(study, rows, system, predicted, results) for system in systems}
    names = {system.id: system.name for system in rows.systems if system.is_fitted}
    fusions = [name for name in scored if name in rows.fusions]
    best_baseline = max((name for name in scored if name not in rows.fusions), key=lambda name: scored[name]["ua_mean"])
    best = max(scored, key=lambda name: scored[name]["ua_mean"])
    _compare_with(study, scored, predicted.counts, REFERENCE, "", tested=fusions)
    _compare_with(study, scored, predicted.counts, best_baseline, "baseline_", tested=fusions)
    regression = max((name for name in scored if name.startswith(REGRESSION)), key=lambda name: scored[name]["ua_mean"])
    _compare_with(study, scored, predicted.counts, regression, "regression_", tested=fusions)
    shown = list(dict.fromkeys([*fusions, best_baseline, regression]))
    _compare_with(study, scored, predicted.counts, best, "best_", tested=shown)
    return {
        **study.describe(),
        "reference": REFERENCE,
        "best_baseline": best_baseline,
        "best_regression": regression,
        "best": best,
        "script_floor": floor_json(data, study.floor, study.folds.tested.numpy()),
        "label_inertia": label_inertia(data),
        "left_out": dict(rows.left_out),
        "diverged": {names[key]: error for key, error in diverged.items()},
        "not_run": [name for key, name in names.items() if key not in results and key not in diverged],
        "warnings": [*data.warnings, *warnings_for(data, study.folds), *notes],
        "rows": sorted(scored.values(), key=lambda row: -row["ua_mean"]),
    }


def _row(study: Study, rows: FusionRows, system: System, predicted: Predicted, results: Results) -> dict[str, Any]:
    fits = results.get(system.id, [])
    losses = {name: bool(system.changes.get(name)) for name in ("avel", "mem")}
    none = dict.fromkeys(
        f"{prefix}{name}"
        for prefix in ("", "baseline_", "regression_", "best_")
        for name in ("gain", "gain_ci95", "p", "p_holm")
    )
    return {
        **score_row(study, system, predicted, fits),
        "fusion": rows.fusions.get(system.id),
        **losses,
        "parameters": fits[0].parameters if fits else None,
        "processor_seconds": _median([fit.processor_seconds for fit in fits]),
        **none,
    }


def _compare_with(
    study: Study,
    scored: Mapping[str, dict[str, Any]],
    counts: Mapping[str, Counts],
    other: str,
    prefix: str,
    *,
    tested: Sequence[str],
) -> None:
    """Add gain, interval and p of each row against one of them, and p after Holm's correction for the rows `tested`."""
    for name in scored:
        if name != other:
            gains = paired_comparison(counts[name], counts[other], resamples=study.settings.bootstrap)
            scored[name].update({f"{prefix}{key}": value for key, value in gains.items()})
    family = [name for name in tested if name != other]
    for name, p in zip(family, holm([scored[name][f"{prefix}p"] for name in family]), strict=True):
        scored[name][f"{prefix}p_holm"] = p


def _median(values: Sequence[float | None]) -> float | None:
    """The median of values, None if one is missing: fits of earlier versions did not record it."""
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known and len(known) == len(values) else None
