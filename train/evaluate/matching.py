"""AVEL embeddings, and accuracy and AUC of the MEM heads on matching and non-matching pairs."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor

from ..data.batches import collate, evaluation_batches
from ..data.dataset import Dataset
from ..data.streams import Pair, input_pairs
from ..model.foalnet import FoalNet
from ..model.losses import draw_negatives, draw_positives

PAIR_BATCH = 64
PAIRS_SEED = 0


@torch.inference_mode()
def embeddings(
    model: FoalNet, data: Dataset, rows: Tensor, *, batch_size: int, device: torch.device
) -> dict[str, Tensor]:
    """Compute AVEL embeddings.

    Args:
        model: a network with alignment, on `device`.
        data: the dataset.
        rows: the utterances, (m,).
        batch_size: maximum utterances in a batch.
        device: device of the computation.

    Returns:
        By input (m, d), on the CPU; NaN where it is missing.
    """
    assert model.alignment is not None
    width = model.architecture.width
    tables = {name: torch.full((len(data), width), torch.nan) for name in model.projections}
    for batch in evaluation_batches(data, rows, batch_size=batch_size, device=device):
        for name, side in model.project(batch.frames).items():
            embedded = model.alignment.embed(side).masked_fill(~side.present[:, None], torch.nan)
            tables[name][batch.rows.cpu()] = embedded.float().cpu()
    return {name: table[rows] for name, table in tables.items()}


class MatchingScores:
    """Collects the outputs of the matching heads for pairs of three kinds: own, negative, other utterance."""

    def __init__(self) -> None:
        self._scores: list[NDArray[np.float64]] = []
        self._kinds: list[NDArray[np.int64]] = []

    @torch.inference_mode()
    def add(self, model: FoalNet, data: Dataset, rows: Tensor, *, device: torch.device) -> None:
        """Score three pairs for each of `rows` (m,): its own, one of another emotion, another utterance of its emotion.

        This is repeated for each pair of inputs, with the mean of both directions as the score. Partners are drawn
        uniformly from batches of random utterances, the same for every network.
        """
        pair_rng = torch.Generator(device).manual_seed(PAIRS_SEED)
        order_rng = torch.Generator().manual_seed(PAIRS_SEED)
        for chunk in data.features.iter_chunks(rows):
            for chosen in torch.split(torch.randperm(len(chunk.rows), generator=order_rng), PAIR_BATCH):
                batch = collate(data, chunk, chosen, device)
                projected = model.project(batch.frames)
                uniform = torch.zeros(len(batch.rows), len(batch.rows), device=device)
                own = torch.arange(len(batch.rows), device=device)
                partners: dict[Pair, Tensor] = {}
                counted: dict[Pair, Tensor] = {}  # (3, b)
                for a, b in input_pairs(list(projected)):
                    present = projected[a].present & projected[b].present
                    negative = draw_negatives(uniform, batch.labels, present, pair_rng)
                    positive = draw_positives(batch.labels, batch.rows, present, pair_rng)
                    partners[a, b] = partners[b, a] = torch.stack([own, negative.rows, positive.rows])
                    counted[a, b] = torch.stack([present, negative.found, positive.found])
                matched = model.match(model.head.fuse_pairs(projected, partners))
                shares = {pair: logits.float().softmax(-1)[..., 1] for pair, logits in matched.items()}
                kinds = torch.arange(3, device=device)[:, None].expand(3, len(own))
                for (a, b), usable in counted.items():
                    mean = torch.stack([shares[a, b], shares[b, a]]).mean(0)
                    self._scores.append(mean[usable].double().cpu().numpy())
                    self._kinds.append(kinds[usable].cpu().numpy())

    def scores(self) -> Mapping[str, float] | None:
        """Accuracy, and AUC of own pairs and of pairs of two utterances; None if a kind of pair is missing."""
        score, kind = np.concatenate(self._scores), np.concatenate(self._kinds)
        if not all((kind == number).any() for number in (0, 1, 2)):
            return None
        negatives = kind == 1
        matches = ~negatives
        # Matching and non-matching pairs have equal weight, and so have own pairs and other matching pairs.
        weights = np.where(
            negatives, 1 / negatives.sum(), 1 / (2 * np.where(kind == 0, (kind == 0).sum(), (kind == 2).sum()))
        )
        correct = (score > 0.5) == matches
        return {
            "accuracy": float((correct * weights).sum() / weights.sum()),
            "auc": float(roc_auc_score(matches, score, sample_weight=weights)),
            "auc_own": float(roc_auc_score(matches[kind != 2], score[kind != 2])),
            "auc_other": float(roc_auc_score(matches[kind != 0], score[kind != 0])),
            "pairs": len(score),
        }
