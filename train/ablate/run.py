"""`foal ablate`: fit every system on every fold and seed, side by side, and compare them in one table.

The flow: open the index; list the systems and their fits; run the missing fits on Dask workers; build each system's
table of probabilities; compare with the baseline; write the results.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...shared.cli.logs import log_file
from ...shared.config.settings import Settings, modality_of
from ...shared.config.train_settings import LABEL, Protocol, TrainSettings
from ...shared.errors import UsageError
from ...shared.store.feature_store import FeatureStore
from ..data.dataset import open_dataset
from ..data.fold_features import tested_groups, with_fold_streams
from ..data.protocol import CrossValidation, build_cross_validation, check_classes, cross_validation_of
from ..fit.parallel import run_missing
from ..fit.task import load_result
from ..floor.folds import floor_json, script_floor
from ..floor.inertia import label_inertia
from ..metrics.classification import Counts, mean_ua
from ..metrics.significance import paired_comparison
from ..report.ablation import plot_ablation, write_markdown
from ..report.files import warnings_for
from ..report.results import write_json
from ..report.run_folder import FITS, LOG_FILE, REPORT_FILE, reuse_run_folder
from .ratings import ablate_ratings
from .script_rows import with_script_rows
from .study import Results, Study, predict_tested, score_row
from .systems import BASELINE, PROPOSED, System, fit_tasks, systems_for

OUR_FILES = frozenset(
    {"ablation.json", "ablation.md", "ablation.png", FITS, LOG_FILE, REPORT_FILE, ".gitignore"}
    | {f"fusions.{suffix}" for suffix in ("json", "md", "csv", "tex", "png")}
)
"""Files of this study and of that of fusion systems, which may share a folder and their fits."""


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
    t = with_available_streams(settings.train, features)
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
        study = Study(
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
            ablation = _compare(study, systems, results)
            write_json(folder / "ablation.json", ablation)
            write_markdown(folder / "ablation.md", ablation)
            plot_ablation(folder / "ablation.png", ablation)
    return ablation


def with_available_streams(settings: TrainSettings, features: Path) -> TrainSettings:
    """The settings; with the default streams without those of modalities that the features lack."""
    if settings.streams != TrainSettings().streams:
        return settings
    with FeatureStore(features) as store:
        available = {modality_of(name) for name in store.streams}
    streams = tuple(name for name in settings.streams if name in available)
    return settings.model_copy(update={"streams": streams or settings.streams})


def _compare(study: Study, systems: Sequence[System], results: Results) -> dict[str, Any]:
    data, folds = study.data, study.folds
    resamples = study.settings.bootstrap
    predicted = predict_tested(study, systems, results)
    counts = predicted.counts
    baseline = BASELINE if BASELINE in counts else systems[-1].id
    rows = []
    for system in systems:
        comparison: dict[str, Any] = {"gain": None, "gain_ci95": None, "p": None}
        if system.id != baseline:
            comparison = paired_comparison(counts[system.id], counts[baseline], resamples=resamples)
        rows.append({**score_row(study, system, predicted, results.get(system.id, [])), **comparison})
    return {
        **study.describe(),
        "baseline": baseline,
        "verdict": _verdict(systems, counts, resamples),
        "script_floor": floor_json(data, study.floor, folds.tested.numpy()),
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
