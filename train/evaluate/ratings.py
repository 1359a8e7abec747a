"""Ratings in a detailed evaluation: scores over all, by speaker and session, and without a modality."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...shared.config.train_settings import TrainSettings
from ..data.dataset import Dataset
from ..data.sequences import Batch
from ..fit.device import amp_dtype
from ..fit.predict import Predictions, predict_targets
from ..metrics.regression import group_scores, mean_concordance, rating_scores
from .ensemble import DataOf, SeedEnsemble, members_by_fold
from .groups import rows_by_group

Transform = Callable[[Batch], Batch]


def prediction_tables(
    data_of: DataOf,
    ensembles: Mapping[int, SeedEnsemble],
    device: torch.device,
    part: Callable[[Predictions], torch.Tensor],
    transform: Transform = lambda batch: batch,
) -> NDArray[np.float32]:
    """Predictions (seeds, n, c) or (seeds, n, k) of the ensembles on transformed batches.

    Args:
        data_of: the dataset of a network.
        ensembles: the networks of each seed.
        device: device of the computation.
        part: chooses probabilities or ratings.
        transform: applied to every batch.

    Returns:
        The predictions, averaged over the networks of a seed; NaN for rows that are not scored.
    """
    tables = {}
    for member, rows in members_by_fold(ensembles):
        half = amp_dtype(TrainSettings.model_validate(member.metadata["settings"]), device)  # as in training
        data = data_of(member)
        predictions = predict_targets(member.model, data, rows, device=device, half=half, transform=transform)
        tables[member.seed, member.fold] = part(predictions)
    return np.stack(
        [
            ensemble.average([tables[member.seed, member.fold] for member, _ in ensemble.members])
            for ensemble in ensembles.values()
        ]
    )


def rating_evaluation(
    data: Dataset,
    data_of: DataOf,
    ensembles: Mapping[int, SeedEnsemble],
    device: torch.device,
    conditions: Mapping[str, Transform],
    *,
    resamples: int,
) -> dict[str, Any]:
    """Scores of ratings for metrics.json; empty without ratings.

    Args:
        data: the dataset.
        data_of: the dataset of a network.
        ensembles: the networks of each seed.
        device: device of the computation.
        conditions: degradations of the inputs by name.
        resamples: bootstrap resamples of the intervals.

    Returns:
        `ratings` as in the metrics.json of a run, with `per_speaker`, `per_session` (CCC, MAE and number by dimension,
        of the mean over seeds) and `robustness` (mean CCC by condition).
    """
    if data.targets.ratings is None:
        return {}
    rows, dimensions = next(iter(ensembles.values())).rows.numpy(), data.targets.dimensions
    truth = data.targets.ratings.numpy()[rows]
    speakers = [data.speakers[row] for row in rows]
    sessions = [data.utterances[row].session or "unknown" for row in rows]

    def predicted(transform: Transform) -> NDArray[np.float32]:
        return prediction_tables(data_of, ensembles, device, lambda part: part.ratings, transform)[:, rows]

    complete = predicted(lambda batch: batch)
    scores = rating_scores(truth, complete, speakers, dimensions=dimensions, resamples=resamples)
    mean = complete.mean(0)
    for kind, names in (("per_speaker", speakers), ("per_session", sessions)):
        scores[kind] = _by_group(truth, mean, names, dimensions)
    degraded = {name: predicted(transform) for name, transform in conditions.items()}
    scores["robustness"] = {
        name: float(np.mean([_mean_ccc(truth, table, dimensions) for table in tables]))
        for name, tables in {"complete": complete, **degraded}.items()
    }
    return {"ratings": scores}


def _by_group(
    truth: NDArray[np.float32], predicted: NDArray[np.float32], names: Sequence[str], dimensions: Sequence[str]
) -> dict[str, Any]:
    return {name: group_scores(truth[rows], predicted[rows], dimensions) for name, rows in rows_by_group(names).items()}


def _mean_ccc(truth: NDArray[np.float32], predicted: NDArray[np.float32], dimensions: Sequence[str]) -> float:
    return mean_concordance(group_scores(truth, predicted, dimensions)) or 0.0
