"""Cross-modal retrieval of a run's networks: on AVEL embeddings and on raw mean features."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.batches import EVALUATION_BATCH_SIZE
from ..data.dataset import Dataset
from ..data.pooled import pooled_features
from ..data.streams import input_pairs
from ..metrics.retrieval import Retrieval, fit_cross_modal_regression, retrieval
from ..model.foalnet import FoalNet
from .ensemble import DataOf, FoldModel, SeedEnsemble, members_by_fold, training_mask
from .matching import embeddings

Space = Mapping[str, NDArray[Any]]
"""Vectors (m, d) of the same utterances, by modality."""


def retrieval_scores(
    data_of: DataOf, ensembles: Mapping[int, SeedEnsemble], device: torch.device, metadata: Mapping[str, Any]
) -> dict[str, dict[str, float | int]]:
    """MAP and R@1 of retrieval by emotion, within the utterances of each network, in both directions.

    The spaces are AVEL embeddings and raw mean features. The raw features of two encoders are unrelated: a ridge
    regression, fitted without labels on the utterances that the network was trained on, maps the first input of a pair
    to the second one. If the dataset does not contain these, there are no raw scores.

    Args:
        data_of: the dataset of a network, with at least two inputs.
        ensembles: the networks by seed.
        device: device of the computation.
        metadata: config.json of the run.

    Returns:
        Scores by space and direction ("avel: audio to face"), averaged over networks weighted by their `available`
        queries, and how many `queries` were ranked: where a network has more than MAX_QUERIES, a random sample.
    """
    results: dict[str, list[Retrieval]] = {}
    data: Dataset | None = None
    for fold_model, member_rows in members_by_fold(ensembles):
        if data is not (of_fold := data_of(fold_model)):
            data = of_fold
            means = {name: torch.from_numpy(table) for name, table in pooled_features(data).items()}
            present = {name: table.isfinite().all(1) for name, table in means.items()}
        training_rows = training_mask(fold_model, data, metadata)
        for first, second in input_pairs(list(means)):
            complete = present[first] & present[second]
            rows = member_rows[complete[member_rows]]
            if not len(rows):
                continue
            labels = data.labels[rows].numpy()
            pair = {name: means[name] for name in (first, second)}
            for space, vectors in _spaces(fold_model, data, rows, training_rows & complete, pair, device):
                for query, gallery in ((first, second), (second, first)):
                    scores = retrieval(vectors[query], vectors[gallery], labels, labels, include_self=False)
                    if scores is not None:
                        results.setdefault(f"{space}: {query} to {gallery}", []).append(scores)
    return {name: _average(parts) for name, parts in sorted(results.items())}


def _average(parts: Sequence[Retrieval]) -> dict[str, float | int]:
    """The scores of several networks averaged, and their numbers of queries summed."""
    weights = [part.available for part in parts]
    means = {
        key: float(np.average([getattr(part, key) for part in parts], weights=weights))
        for key in ("map", "r1", "chance")
    }
    return {**means, "queries": sum(part.queries for part in parts), "available": sum(weights)}


def _spaces(
    fold_model: FoldModel,
    data: Dataset,
    rows: Tensor,
    training_rows: Tensor,
    means: Mapping[str, Tensor],
    device: torch.device,
) -> Iterator[tuple[str, Space]]:
    """The spaces in which the two inputs of a network's utterances `rows` (m,) can be compared, by name."""
    if isinstance(fold_model.model, FoalNet) and fold_model.model.alignment is not None:
        tables = embeddings(fold_model.model, data, rows, batch_size=EVALUATION_BATCH_SIZE, device=device)
        yield "avel", {name: tables[name].numpy() for name in means}
    if int(training_rows.sum()) > 1:
        first, second = means
        regression = fit_cross_modal_regression(
            means[first][training_rows].numpy(), means[second][training_rows].numpy()
        )
        mapped, target = regression(means[first][rows].numpy(), means[second][rows].numpy())
        yield "raw", {first: mapped, second: target}
