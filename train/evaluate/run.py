"""`foal evaluate`: score utterances with the networks of a run, in detail.

The flow: load the networks; open the features; assign networks to utterances; predict; compute scores; write them.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...shared.config.settings import Settings, modality_of
from ...shared.config.train_settings import TrainSettings
from ...shared.errors import StoreError, TrainingError
from ...shared.parallel.device import select_device
from ...shared.utterance import select_splits
from ..data.dataset import Dataset, open_dataset
from ..data.fold_features import FoldDatasets, fold_settings, with_fold_streams
from ..data.modality_dropout import drop_frames, drop_modality
from ..data.sequences import Batch
from ..fit.device import deterministic
from ..floor.inertia import label_inertia
from ..folds.plan import require_whole_dialogs
from ..metrics.classification import pooled_scores
from ..model.foalnet import FoalNet
from ..report.evaluation import plot_calibration, plot_overview
from ..report.files import corpora_seen, fold_streams_json, head_json, versions
from ..report.plots import plot_confusion
from ..report.results import run_title, write_json
from ..report.run_folder import REPORT_FILE, reuse_run_folder
from .ensemble import (
    DataOf,
    FoldModel,
    SeedEnsemble,
    assign_models,
    check_encoders,
    groups_of,
    load_fold_models,
    members_by_fold,
)
from .groups import calibration, class_scores, group_scores, score_summary
from .matching import MatchingScores
from .ratings import prediction_tables, rating_evaluation
from .retrieval import retrieval_scores
from .scenes import scene_scores

log = logging.getLogger(__name__)

OUR_FILES = frozenset({"metrics.json", "confusion.png", "calibration.png", "overview.png", ".gitignore", REPORT_FILE})
FROM_THE_RUN = (
    "protocol",
    "selected_on_test",
    "random_weights",
    "speaker_statistics",
    "modalities",
    "target",
    "avel",
    "mem",
    "compat",
    "streams",
)
"""Keys of the run's metadata that metrics.json repeats, as far as they exist."""


def evaluate(
    settings: Settings,
    run: Path,
    features: Path,
    out: Path,
    *,
    sessions: Sequence[str] = ("all",),
    force: bool = False,
) -> dict[str, Any]:
    """Score the utterances of some sessions with a run's networks; write metrics.json and plots.

    No network scores a group that it was trained on.

    Args:
        settings: settings; of training those that choose streams and reading, the rest is the run's.
        run: the folder of a finished run, or one folder under its models/.
        features: feats.h5.
        out: folder of the results.
        sessions: sessions or corpora to score.
        force: write into `out` even if it contains other files.

    Returns:
        The content of metrics.json.

    Raises:
        StoreError: the run or the features cannot be read.
        TrainingError: the features do not fit the networks, or no utterance may be scored.
        UsageError: `out` contains other files.
    """
    models = load_fold_models(run)
    metadata = models[0].metadata
    t = _reading_settings(settings.train, TrainSettings.model_validate(metadata["settings"]))
    device = select_device(settings.cluster.device)
    with (
        deterministic(device, settings.cluster.threads),
        open_dataset(features, t, classes=metadata["classes"]) as opened,
        FoldDatasets(features, t, classes=metadata["classes"], device=device) as fold_datasets,
    ):
        data = with_fold_streams(opened, features, t, {model.fold: model.test for model in models})

        def data_of(fold_model: FoldModel) -> Dataset:
            if not data.fold_streams:
                return data
            of_fold = fold_datasets.open(fold_settings(t, fold_model.fold, fold_model.test))
            check_encoders(fold_model, of_fold, run, features)
            return of_fold if t.max_seconds is None else of_fold.select(list(of_fold.stream_names), t.max_seconds)

        if not data.fold_streams:
            check_encoders(models[0], data, run, features)
        selected = {utterance.id for utterance in select_splits(data.utterances, sessions)}
        rows = torch.tensor([row for row, name in enumerate(data.ids) if name in selected])
        ensembles = assign_models(models, data, rows)
        first = next(iter(ensembles.values()))
        _check_ensembles(run, ensembles, len(rows))
        if data.fold_streams and len(first.unseen_groups):
            raise TrainingError(
                f"{run}: expected utterances of the {metadata['groups']['kind']}s of the run, got "
                f"{len(first.unseen_groups)} others, which no single stream fits because the features differ by fold; "
                "choose those of the run with --split"
            )
        if t.over_dialogs:
            groups = metadata["groups"]
            require_whole_dialogs(data.utterances, groups_of(data, groups, set(groups["names"])), metadata["protocol"])
        data = data.to(device)
        for fold_model in models:
            fold_model.model.to(device)
        log.info("scoring %d utterances with %d networks", len(first.rows), len(models))
        metrics = {
            **{key: metadata[key] for key in FROM_THE_RUN if key in metadata},
            **head_json(t),
            "encoder_saw_corpus": bool(corpora_seen(data)),
            "fold_streams": fold_streams_json(data),
            "run": {key: metadata[key] for key in ("features", "folds_digest", "versions")},
            "features": data.digest,
            "sessions": list(sessions),
            "seeds": sorted(ensembles),
            "classes": list(data.classes),
            "versions": versions(),
            "n": len(first.rows),
            **({"label_inertia": label_inertia(data)} if t.over_dialogs else {}),
            **(_evaluation(data, data_of, ensembles, settings, device, metadata) if data.classes else {}),
            **rating_evaluation(
                data,
                data_of,
                ensembles,
                device,
                conditions(list(data.stream_names)) if len(data.stream_names) > 1 else {},
                resamples=settings.train.bootstrap,
            ),
            "warnings": [*data.warnings, *corpora_seen(data), *_warnings(first, metadata)],
        }
    with reuse_run_folder(out, OUR_FILES, force=force) as folder:
        write_json(folder / "metrics.json", metrics)
        if data.classes:
            plot_confusion(folder / "confusion.png", metrics, title=run_title(metrics))
            plot_calibration(folder / "calibration.png", metrics, title=run_title(metrics))
            plot_overview(folder / "overview.png", metrics, title=run_title(metrics))
    return metrics


def _reading_settings(given: TrainSettings, trained: TrainSettings) -> TrainSettings:
    """The settings of the run, with the given streams and the given way of reading."""
    modalities = [modality_of(name) for name in trained.streams]
    named = {modality_of(name): name for name in given.streams if "/" in name and name not in trained.streams}
    if unknown := [name for modality, name in named.items() if modalities.count(modality) != 1]:
        raise TrainingError(
            f"--streams {unknown[0]}: the network was trained on {', '.join(trained.streams)}; leave it out, or train "
            "again with it"
        )
    changes: dict[str, Any] = {}
    if given.fold_features:
        changes["fold_features"] = given.fold_features
        named |= {modality_of(name): modality_of(name) for name in given.fold_features}
    changes["streams"] = tuple(
        named.get(modality, name) for modality, name in zip(modalities, trained.streams, strict=True)
    )
    return trained.model_copy(update={**changes, "load": given.load, "disk_buffer_mb": given.disk_buffer_mb})


def _check_ensembles(run: Path, ensembles: Mapping[int, SeedEnsemble], utterances: int) -> None:
    first = next(iter(ensembles.values()))
    if not len(first.rows):
        raise TrainingError(
            f"{run}: all {utterances} utterances are of groups that its networks were trained on; evaluate the whole "
            "run, or other features"
        )
    for seed, ensemble in ensembles.items():
        if not torch.equal(ensemble.rows, first.rows):
            raise StoreError(f"{run}: expected networks of the same folds for every seed, got others for seed {seed}")


def _warnings(ensemble: SeedEnsemble, metadata: Mapping[str, Any]) -> list[str]:
    kind, warnings = metadata["groups"]["kind"], []
    if metadata["selected_on_test"]:
        warnings.append("selected on test: the run chose its epochs on the test groups")
    if len(ensemble.excluded):
        warnings.append(
            f"{len(ensemble.excluded)} utterances left out: the networks were trained on their {kind}, or may have been"
        )
    if len(ensemble.unseen_groups):
        warnings.append(
            f"{len(ensemble.unseen_groups)} utterances are of a corpus or {kind} that the run did not contain: their "
            "scores are averages of all networks of a seed"
        )
    if metadata["speaker_statistics"]:
        warnings.append(
            "speaker statistics: each speaker's features are standardized with all utterances of the speaker in these "
            "features"
        )
    if metadata["random_weights"]:
        warnings.append("random weights: an encoder of these features has random weights")
    return warnings


def _evaluation(
    data: Dataset,
    data_of: DataOf,
    ensembles: Mapping[int, SeedEnsemble],
    settings: Settings,
    device: torch.device,
    metadata: Mapping[str, Any],
) -> dict[str, Any]:
    rows = next(iter(ensembles.values())).rows.numpy()
    labels = data.labels.numpy()[rows]
    tables = probability_tables(data_of, ensembles, device)[:, rows]  # (seeds, m, c)
    predicted = tables.argmax(-1)
    classes = len(data.classes)
    speakers = [data.speakers[row] for row in rows]
    kind = metadata["groups"]["kind"]
    every_group = groups_of(data, metadata["groups"], set(metadata["groups"]["names"]))
    groups = [every_group[row] or "unknown" for row in rows]
    result: dict[str, Any] = {
        **pooled_scores(labels, predicted, speakers, classes=data.classes, resamples=settings.train.bootstrap),
        "per_class": class_scores(labels, predicted, data.classes),
        "per_speaker": group_scores(labels, predicted, speakers, classes),
        f"per_{kind}": group_scores(labels, predicted, groups, classes),
        "calibration": calibration(tables, labels),
        **scene_scores(data, next(iter(ensembles.values())), predicted, metadata),
    }
    if kind != "session":
        sessions = [data.utterances[row].session or "unknown" for row in rows]
        result["per_session"] = group_scores(labels, predicted, sessions, classes)
    if len(data.stream_names) > 1:
        log.info("robustness: without a modality, with half of the faces")
        result["robustness"] = {"complete": score_summary(labels, predicted, classes)}
        for name, transform in conditions(list(data.stream_names), frames=not data.dialogs).items():
            predictions = probability_tables(data_of, ensembles, device, transform)[:, rows].argmax(-1)
            result["robustness"][name] = score_summary(labels, predictions, classes)
        log.info("retrieval and matching")
        result["retrieval"] = retrieval_scores(data_of, ensembles, device, metadata)
        result["matching"] = _matching(data_of, ensembles, device) if metadata["mem"] else None
    return result


def conditions(inputs: Sequence[str], *, frames: bool = True) -> Mapping[str, Callable[[Batch], Batch]]:
    """Degradations of the inputs in the robustness test, by name; without `frames` those of whole inputs only."""
    removed = {f"{name} removed": partial(drop_modality, modality=name) for name in inputs}
    faces = [name for name in inputs if frames and modality_of(name) == "face"]
    return removed | {f"{name} rate halved": partial(drop_frames, modality=name) for name in faces}


def probability_tables(
    data_of: DataOf,
    ensembles: Mapping[int, SeedEnsemble],
    device: torch.device,
    transform: Callable[[Batch], Batch] = lambda batch: batch,
) -> NDArray[np.float32]:
    """Probabilities (seeds, n, c) of the ensembles on transformed batches; NaN for rows that are not scored."""
    return prediction_tables(data_of, ensembles, device, lambda predictions: predictions.probabilities, transform)


def _matching(
    data_of: DataOf, ensembles: Mapping[int, SeedEnsemble], device: torch.device
) -> Mapping[str, float] | None:
    pairs = MatchingScores()
    for fold_model, rows in members_by_fold(ensembles):
        if len(rows):
            assert isinstance(fold_model.model, FoalNet)  # the others have no MEM
            pairs.add(fold_model.model, data_of(fold_model), rows, device=device)
    return pairs.scores()
