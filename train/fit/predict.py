"""Class probabilities and ratings from a trained network."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..data.batches import EVALUATION_BATCH_SIZE, evaluation_batches
from ..data.dataset import Dataset
from ..data.sequences import Batch
from ..dialogs.batches import dialog_evaluation_batches
from ..model.dialogs.net import DialogNet
from ..model.networks import Network, logits_of


class Predictions(NamedTuple):
    """Predictions for m utterances, on the CPU: probabilities (m, c) and ratings (m, k), each empty if no target."""

    probabilities: Tensor
    ratings: Tensor


def predict(
    model: Network,
    data: Dataset,
    rows: Tensor,
    *,
    batch_size: int = EVALUATION_BATCH_SIZE,
    device: torch.device,
    half: torch.dtype | None = None,
    transform: Callable[[Batch], Batch] = lambda batch: batch,
) -> Tensor:
    """Compute class probabilities (m, c) in the order of `rows`, on the CPU; see `predict_targets`."""
    predictions = predict_targets(
        model, data, rows, batch_size=batch_size, device=device, half=half, transform=transform
    )
    return predictions.probabilities


@torch.inference_mode()
def predict_targets(
    model: Network,
    data: Dataset,
    rows: Tensor,
    *,
    batch_size: int = EVALUATION_BATCH_SIZE,
    device: torch.device,
    half: torch.dtype | None = None,
    transform: Callable[[Batch], Batch] = lambda batch: batch,
) -> Predictions:
    """Compute class probabilities and ratings; leaves the model in eval mode.

    Args:
        model: the network, on `device`.
        data: the dataset.
        rows: the utterances, (m,).
        batch_size: maximum utterances in a batch; heads over dialogs have a limit of their own.
        device: device of the computation.
        half: dtype of mixed precision (None: float32).
        transform: applied to every batch before the network, for example to remove a modality.

    Returns:
        The predictions in the order of `rows`.
    """
    model.eval()
    classes = model.architecture.classes
    table = torch.empty(len(data), classes)
    ratings = torch.empty(len(data), model.architecture.ratings)
    batches: Iterator[Batch]
    if isinstance(model, DialogNet):
        batches = dialog_evaluation_batches(data, rows, device=device)
    else:
        batches = evaluation_batches(data, rows, batch_size=batch_size, device=device)
    for batch in batches:
        with torch.autocast(device.type, dtype=half, enabled=half is not None):
            outputs = logits_of(model, transform(batch))
        scored = batch.scored
        scored_rows = batch.rows.cpu()[scored]
        if classes:
            table[scored_rows] = outputs[:, :classes].float().softmax(1).cpu()[scored]
        ratings[scored_rows] = outputs[:, classes:].float().cpu()[scored]
    return Predictions(table[rows], ratings[rows])
