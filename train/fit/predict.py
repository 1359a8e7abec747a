"""Class probabilities from a trained network."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..data.batches import EVALUATION_BATCH_SIZE, evaluation_batches
from ..data.dataset import Dataset
from ..data.sequences import Batch
from ..dialogs.batches import dialog_evaluation_batches
from ..model.dialog_net import DialogNet
from ..model.networks import Network, logits_of


@torch.inference_mode()
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
    """Compute class probabilities; leaves the model in eval mode.

    Args:
        model: the network, on `device`.
        data: the dataset.
        rows: the utterances, (m,).
        batch_size: maximum utterances in a batch; heads over dialogs have a limit of their own.
        device: device of the computation.
        half: dtype of mixed precision (None: float32).
        transform: applied to every batch before the network, for example to remove a modality.

    Returns:
        Probabilities (m, c) in the order of `rows`, on the CPU.
    """
    model.eval()
    table = torch.empty(len(data), model.architecture.classes)
    batches: Iterator[Batch]
    if isinstance(model, DialogNet):
        batches = dialog_evaluation_batches(data, rows, device=device)
    else:
        batches = evaluation_batches(data, rows, batch_size=batch_size, device=device)
    for batch in batches:
        with torch.autocast(device.type, dtype=half, enabled=half is not None):
            logits = logits_of(model, transform(batch))
        scored = batch.scored
        table[batch.rows.cpu()[scored]] = logits.float().softmax(1).cpu()[scored]
    return table[rows]
