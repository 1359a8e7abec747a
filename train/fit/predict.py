"""Class probabilities from a trained network."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..data.batches import evaluation_batches
from ..data.dataset import Dataset
from ..data.sequences import Batch
from ..model.foalnet import FoalNet


@torch.inference_mode()
def predict(
    model: FoalNet,
    data: Dataset,
    rows: Tensor,
    *,
    batch_size: int,
    device: torch.device,
    half: torch.dtype | None = None,
    changed: Callable[[Batch], Batch] = lambda batch: batch,
) -> Tensor:
    """Probabilities (m, c), on the CPU, of utterances `rows` (m,), in their order; leaves the model in eval mode.

    `changed` is what is done to every batch before the network sees it.
    """
    model.eval()
    table = torch.empty(len(data), model.architecture.classes)
    for batch in evaluation_batches(data, rows, batch_size=batch_size, device=device):
        with torch.autocast(device.type, dtype=half, enabled=half is not None):
            logits = model(changed(batch).frames)
        table[batch.rows.cpu()] = logits.float().softmax(1).cpu()
    return table[rows]
