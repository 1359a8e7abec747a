"""`foal tune`: search settings of the head on development groups, and score the chosen ones on the test groups.

The flow: open the index; ask the study for all trials; fit every trial on the training group of every fold, on Dask
workers; score it on the fold's development group; fit each fold's best trial as `foal train` would, and score it once
on the fold's test group, next to the current settings; write the results.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, distribution_to_json

from ...shared.cli.logs import log_file
from ...shared.config.settings import Settings
from ...shared.config.train_settings import LABEL, Protocol, TrainSettings
from ...shared.errors import UsageError
from ..data.dataset import Dataset, open_dataset
from ..data.fold_features import fold_settings, tested_groups, with_fold_streams
from ..data.protocol import CrossValidation, check_classes, cross_validation_of
from ..fit.checks import check_fusion
from ..fit.parallel import run_missing
from ..fit.task import ALGORITHM, FitResult, FitTask, load_result, probability_table
from ..floor.folds import floor_json, script_floor
from ..metrics.classification import confusion, counts_by_speaker, pooled_scores, unweighted_accuracy
from ..metrics.significance import paired_comparison
from ..report.files import versions, warnings_for
from ..report.results import write_json
from ..report.run_folder import FITS, LOG_FILE, REPORT_FILE, reuse_run_folder
from ..report.tuning import plot_importance, plot_trials, write_best, write_markdown
from .search_space import search_space, values_of, with_values
from .study import JOURNAL, ask, importances, open_study, tell

OUR_FILES = frozenset(
    {"tune.json", "tune.md", "importance.png", "trials.png", "best.yaml", JOURNAL, FITS, LOG_FILE, REPORT_FILE}
)
MIN_TRIALS = 2
NOT_FIXED = {"seeds", "protocol", "scene_groups", "bootstrap"}
"""Settings that a study stores elsewhere, or that influence no fit."""


@dataclass(frozen=True, kw_only=True)
class _Search:
    """The parts of a search; `trials` are the settings of each trial, the current ones first."""

    data: Dataset
    folds: CrossValidation
    seeds: Sequence[int]
    space: Mapping[str, BaseDistribution]
    trials: Sequence[TrainSettings]


def tune(
    settings: Settings,
    features: Path,
    out: Path,
    *,
    trials: int,
    force: bool = False,
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> dict[str, Any]:
    """Search settings, judged by development groups, and score each fold's best ones on its test group.

    The first trial has the current settings. The fits are Dask tasks whose results stay in `out`: finished fits are
    reused after an interruption and when trials are added.

    Args:
        settings: settings of training, of the cluster and of the corpus (classes).
        features: feats.h5.
        out: folder of the study.
        trials: number of trials, at least 2.
        force: start a study over that was made from something else; keep other files in `out`.
        progress: called with the number of finished fits, of all fits, and what the last fit belongs to; first for
            the search, then for the fits that are tested.

    Returns:
        The content of tune.json.

    Raises:
        TrainingError: the features do not allow the fits.
        UsageError: too few trials, other targets than label, a protocol without development groups, or `out` contains
            other files or a study that was made from something else.
    """
    if trials < MIN_TRIALS:
        raise UsageError(f"expected at least {MIN_TRIALS} trials (the first has the current settings), got {trials}")
    t = settings.train
    if t.target != (LABEL,):
        raise UsageError(
            f"train.target: foal tune searches settings by the UA of labels, got {', '.join(t.target)}; leave it out"
        )
    # Only the index is read here; the workers read the values.
    reading = t.model_copy(update={"load": "disk"})
    with open_dataset(features, reading, classes=settings.corpus.classes) as opened:
        folds = cross_validation_of(t, opened.utterances, opened.speakers)
        data = with_fold_streams(opened, features, t, tested_groups(folds.folds))
        check_classes(folds.folds, data.labels, data.classes)
        check_fusion(data, t)
        if folds.selected_on_test:
            raise UsageError(
                f"expected a protocol with development groups, got {folds.protocol}, whose settings would be chosen on "
                "the test groups; choose another one with --protocol"
            )
        base = t.model_copy(update={"protocol": folds.protocol})
        space = search_space(t, paired=len(data.stream_names) > 1 and not t.over_dialogs)
        seeds = list(dict.fromkeys(t.seeds))
        with reuse_run_folder(out, OUR_FILES, force=force) as folder, log_file(folder / LOG_FILE):
            (folder / FITS).mkdir(exist_ok=True)
            study = open_study(folder / JOURNAL, _made_from(data, folds, t, space), force=force)
            values = ask(study, space, base, trials)
            search = _Search(
                data=data,
                folds=folds,
                seeds=seeds,
                space=space,
                trials=[base, *(with_values(base, proposal) for proposal in values[1:])],
            )

            def run(tasks: Mapping[str, Sequence[FitTask]]) -> dict[str, list[FitResult]]:
                of_protocol: dict[Protocol | None, CrossValidation] = {folds.protocol: folds}
                paths = run_missing(settings, features, data, of_protocol, tasks, progress)
                return {name: [load_result(path) for path in files] for name, files in paths.items()}

            scores = _development_scores(search, run(_search_tasks(search, folder / FITS)))
            means = scores.mean(1)
            tell(study, means.tolist())
            chosen = scores.argmax(0)  # the first of equally good trials: the current settings, if they are among them
            results = run(_test_tasks(search, chosen, folder / FITS))
            tuning = {
                **_conditions(search),
                "importance": importances(space, values, means.tolist()),
                "trials": _trial_rows(search, scores),
                "folds": _fold_rows(search, scores, chosen),
                "best": {"trial": int(means.argmax())},
                **_compare(search, results),
            }
            write_json(folder / "tune.json", tuning)
            write_markdown(folder / "tune.md", tuning)
            write_best(folder / "best.yaml", tuning)
            plot_importance(folder / "importance.png", tuning)
            plot_trials(folder / "trials.png", tuning)
    return tuning


def _made_from(
    data: Dataset, folds: CrossValidation, settings: TrainSettings, space: Mapping[str, BaseDistribution]
) -> dict[str, Any]:
    """What a study is made from, as JSON values; a study is continued only with the same."""
    return {
        "features": data.digest,
        "streams": list(data.stream_names.values()),
        "classes": list(data.classes),
        "protocol": folds.protocol,
        "folds_digest": folds.digest,
        "seeds": list(dict.fromkeys(settings.seeds)),
        "settings": settings.model_dump(mode="json", exclude=NOT_FIXED),
        "space": {key: distribution_to_json(distribution) for key, distribution in space.items()},
        "algorithm": ALGORITHM,
    }


def _search_tasks(search: _Search, folder: Path) -> dict[str, list[FitTask]]:
    """The fits of each trial on the training groups; they are scored on the development groups."""
    return {
        f"trial {number}": [
            # The development group judges the fit, so it cannot be part of it.
            FitTask(
                settings=fold_settings(trial.model_copy(update={"refit": False}), fold.number, fold.test),
                scored="dev",
                seed=seed,
                fold=fold.number,
                folder=folder,
            )
            for seed in search.seeds
            for fold in search.folds.folds
        ]
        for number, trial in enumerate(search.trials)
    }


def _development_scores(search: _Search, results: Mapping[str, Sequence[FitResult]]) -> NDArray[np.float64]:
    """UA on the development group, mean over seeds: (trials, folds)."""
    scores = np.zeros((len(search.trials), len(search.folds.folds)))
    for number, fits in enumerate(results.values()):
        for fit in fits:
            rows = search.folds.folds[fit.fold - 1].dev_rows
            counts = confusion(search.data.labels[rows].numpy(), fit.probabilities.argmax(1), len(search.data.classes))
            scores[number, fit.fold - 1] += float(unweighted_accuracy(counts)) / len(search.seeds)
    return scores


def _test_tasks(search: _Search, chosen: NDArray[np.int64], folder: Path) -> dict[str, list[FitTask]]:
    """The fits that are scored on the test groups: of the current settings, and of each fold's chosen trial."""
    return {
        name: [
            FitTask(
                settings=fold_settings(search.trials[trial], fold.number, fold.test),
                seed=seed,
                fold=fold.number,
                folder=folder,
            )
            for seed in search.seeds
            for fold, trial in zip(search.folds.folds, trials, strict=True)
        ]
        for name, trials in (("current settings", [0] * len(chosen)), ("tuned settings", chosen.tolist()))
    }


def _compare(search: _Search, results: Mapping[str, Sequence[FitResult]]) -> dict[str, Any]:
    """Test scores of the current and of the tuned settings, pooled over folds, and the gain."""
    data, folds, resamples = search.data, search.folds, search.trials[0].bootstrap
    tested = folds.tested.numpy()
    labels = data.labels.numpy()[tested]
    speakers = [data.speakers[row] for row in tested]
    predicted = {
        name: np.stack([probability_table(data, folds, fits, seed)[tested].argmax(-1) for seed in search.seeds])
        for name, fits in results.items()
    }
    scores = {
        name: pooled_scores(labels, classes, speakers, classes=data.classes, resamples=resamples)
        for name, classes in predicted.items()
    }
    current, tuned = (
        counts_by_speaker(labels, predicted[name], speakers, len(data.classes))
        for name in ("current settings", "tuned settings")
    )
    return {
        "current": scores["current settings"],
        "tuned": scores["tuned settings"],
        **paired_comparison(tuned, current, resamples=resamples),
    }


def _trial_rows(search: _Search, scores: NDArray[np.float64]) -> list[dict[str, Any]]:
    return [
        {
            "trial": number,
            "current": number == 0,
            "parameters": dict(values_of(trial, search.space)),
            "dev_ua": scores[number].tolist(),
            "dev_ua_mean": float(scores[number].mean()),
        }
        for number, trial in enumerate(search.trials)
    ]


def _fold_rows(search: _Search, scores: NDArray[np.float64], chosen: NDArray[np.int64]) -> list[dict[str, Any]]:
    return [
        {
            "fold": fold.number,
            "test": fold.test,
            "dev": fold.dev,
            "trial": int(trial),
            "dev_ua": float(scores[trial, fold.number - 1]),
            "current_dev_ua": float(scores[0, fold.number - 1]),
        }
        for fold, trial in zip(search.folds.folds, chosen, strict=True)
    ]


def _conditions(search: _Search) -> dict[str, Any]:
    data, folds, base = search.data, search.folds, search.trials[0]
    return {
        "protocol": folds.protocol,
        "features": data.digest,
        "folds_digest": folds.digest,
        "seeds": list(search.seeds),
        "classes": list(data.classes),
        "n": len(folds.tested),
        "speakers": len({data.speakers[row] for row in folds.tested.tolist()}),
        "random_weights": data.random_weights,
        "versions": versions(),
        "streams": list(data.stream_names.values()),
        "settings": base.model_dump(mode="json"),
        "script_floor": floor_json(data, script_floor(data, folds), folds.tested.numpy()),
        "warnings": [*data.warnings, *warnings_for(data, folds)],
    }
