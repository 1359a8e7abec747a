"""Class probabilities from a trained network."""

import torch
from torch import Tensor

from .batches import evaluation_batches
from .data import Dataset, collate
from .model import FoalNet


@torch.inference_mode()
def predict(model: FoalNet, data: Dataset, rows: Tensor, *, batch_size: int) -> Tensor:
    """Probabilities (m, c), on the CPU, of utterances `rows` (m,), in their order; leaves the model in eval mode."""
    model.eval()
    probabilities = torch.empty(len(rows), model.architecture.classes)
    for positions in evaluation_batches(rows, data.lengths, batch_size=batch_size):
        logits = model(collate(data, rows[positions]).frames)
        probabilities[positions] = logits.softmax(1).cpu()
    return probabilities
