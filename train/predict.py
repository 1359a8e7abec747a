"""Class probabilities from a trained network."""

import torch
from torch import Tensor

from .batches import evaluation_batches
from .dataset import Dataset
from .model import FoalNet


@torch.inference_mode()
def predict(
    model: FoalNet, data: Dataset, rows: Tensor, *, batch_size: int, device: torch.device,
    half: torch.dtype | None = None,
) -> Tensor:  # fmt: skip
    """Probabilities (m, c), on the CPU, of utterances `rows` (m,), in their order; leaves the model in eval mode."""
    model.eval()
    table = torch.empty(len(data), model.architecture.classes)
    for batch in evaluation_batches(data, rows, batch_size=batch_size, device=device):
        with torch.autocast(device.type, dtype=half, enabled=half is not None):
            logits = model(batch.frames)
        table[batch.rows.cpu()] = logits.float().softmax(1).cpu()
    return table[rows]
