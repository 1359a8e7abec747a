"""The study of ratings: the mean of the training group, ridge regression, and the network, over each input and all.

The flow is that of the study of classes in `run`: list the systems and their fits; run the missing fits on Dask
workers; build each system's table of predicted ratings; compare; write the results.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...shared.cli.logs import log_file
from ...shared.config.settings import Settings
from ...shared.config.train_settings import Protocol
from ...shared.errors import UsageError
from ..data.dataset import Dataset, open_dataset
from ..data.fold_features import tested_groups, with_fold_streams
from ..data.protocol import CrossValidation, cross_validation_of
from ..fit.baselines import Baseline
from ..fit.checks import check_targets
from ..fit.parallel import run_missing
from ..fit.task import FitResult, load_result, rating_table
from ..metrics.regression import concordance_gain, rating_scores
from ..report.files import corpora_seen, fold_streams_json, versions, warnings_for
from ..report.ratings import write_rating_markdown
from ..report.results import write_json
from ..report.run_folder import FITS, LOG_FILE, reuse_run_folder
from .systems import BASELINE, FUSION_ONLY, System, fit_tasks, single_networks

RIDGE = Baseline(estimator="ridge", parts=("mean", "std"))


def rating_systems(inputs: Sequence[str]) -> list[System]:
    """The systems of a study of ratings over these inputs."""
    ridge = [_ridge(key, (key,)) for key in inputs]
    networks = single_networks(inputs)
    if len(inputs) > 1:
        ridge.append(_ridge("both" if len(inputs) == 2 else "all", None))
        networks.append(
            System(id=BASELINE, name="fusion", description="cross-attention of all inputs", changes=FUSION_ONLY)
        )
    mean = System(id="mean", name="mean rating", description="of the training group", kind="majority")
    return [mean, *ridge, *networks]


def _ridge(name: str, inputs: tuple[str, ...] | None) -> System:
    return System(
        id=f"ridge-{name}",
        name=f"ridge, {name}",
        description="on means and deviations of the frames",
        kind="baseline",
        baseline=RIDGE,
        inputs=inputs,
    )


def ablate_ratings(
    settings: Settings,
    features: Path,
    out: Path,
    *,
    ours: frozenset[str],
    force: bool = False,
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> dict[str, Any]:
    """Fit and compare all systems; write ablation.json and ablation.md.

    Args:
        settings: settings of training, of the cluster and of the corpus.
        features: feats.h5.
        out: folder of the results.
        ours: names of the files in such a folder.
        force: write into `out` even if it contains other files.
        progress: called with the number of finished fits, of all fits, and the id of the system of the last fit.

    Returns:
        The content of ablation.json.

    Raises:
        TrainingError: the features do not allow the study.
        UsageError: the targets contain classes, or `out` contains other files.
    """
    t = settings.train
    if t.has_classes:
        raise UsageError(
            f"train.target: foal ablate compares systems on label, or on ratings alone, got {', '.join(t.target)}; "
            "choose one of them"
        )
    with open_dataset(features, t.model_copy(update={"load": "disk"}), classes=None) as opened:
        folds = cross_validation_of(t, opened.utterances, opened.speakers)
        data = with_fold_streams(opened, features, t, tested_groups(folds.folds))
        check_targets(data, folds)
        systems = rating_systems(list(data.stream_names))
        seeds = list(dict.fromkeys(t.seeds))
        with reuse_run_folder(out, ours, force=force) as folder, log_file(folder / LOG_FILE):
            (folder / FITS).mkdir(exist_ok=True)
            tasks = fit_tasks(systems, t, folds, seeds, folder / FITS)
            of_protocol: dict[Protocol | None, CrossValidation] = {folds.protocol: folds}
            paths = run_missing(settings, features, data, of_protocol, tasks, progress)
            results = {name: [load_result(path) for path in files] for name, files in paths.items()}
            ablation = _compare(settings, data, folds, systems, results)
            write_json(folder / "ablation.json", ablation)
            write_rating_markdown(folder / "ablation.md", ablation)
    return ablation


def _compare(
    settings: Settings,
    data: Dataset,
    folds: CrossValidation,
    systems: Sequence[System],
    results: Mapping[str, Sequence[FitResult]],
) -> dict[str, Any]:
    assert data.targets.ratings is not None
    t, tested = settings.train, folds.tested.numpy()
    truth = data.targets.ratings.numpy()[tested]
    speakers = [data.speakers[row] for row in tested]
    tables = {system.id: _table(data, folds, results.get(system.id, []))[:, tested] for system in systems}
    rows = []
    for system in systems:
        fits = results.get(system.id, [])
        scores = rating_scores(
            truth, tables[system.id], speakers, dimensions=data.targets.dimensions, resamples=t.bootstrap
        )
        seconds = float(np.mean([fit.seconds for fit in fits])) if fits else None
        described = {"id": system.id, "name": system.name, "description": system.description}
        rows.append({**described, "seeds": len(tables[system.id]), **scores, "seconds": seconds})
    ccc = {row["id"]: row["ccc_mean"] for row in rows}
    best = max((system.id for system in systems if system.baseline is not None), key=lambda name: ccc[name])
    proposed = systems[-1].id
    gain = concordance_gain(truth, tables[proposed], tables[best], speakers, resamples=t.bootstrap)
    return {
        "protocol": folds.protocol,
        "selected_on_test": folds.selected_on_test,
        "features": data.digest,
        "folds_digest": folds.digest,
        "seeds": list(dict.fromkeys(t.seeds)),
        "target": list(t.target),
        "n": len(tested),
        "speakers": len(set(speakers)),
        "random_weights": data.random_weights,
        "encoder_saw_corpus": bool(corpora_seen(data)),
        "versions": versions(),
        "streams": list(data.stream_names.values()),
        "fold_streams": fold_streams_json(data),
        "settings": t.model_dump(mode="json"),
        "verdict": {"system": proposed, "baseline": best, **gain},
        "warnings": [*data.warnings, *warnings_for(data, folds)],
        "rows": rows,
    }


def _table(data: Dataset, folds: CrossValidation, results: Sequence[FitResult]) -> NDArray[np.float32]:
    """Predicted ratings (seeds, n, k) of a system; without fits the mean rating of each fold's training group."""
    if results:
        seeds = dict.fromkeys(result.seed for result in results)
        return np.stack([rating_table(data, folds, results, seed) for seed in seeds])
    assert data.targets.ratings is not None
    ratings = data.targets.ratings.numpy()
    table = np.full((1, *ratings.shape), np.nan, np.float32)
    for fold in folds.folds:
        table[0, fold.test_rows.numpy()] = np.nanmean(ratings[fold.train_rows.numpy()], axis=0)
    return table
