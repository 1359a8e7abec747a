"""The two auxiliary losses, AVEL and MEM, and the pairs that MEM looks at; all pure."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)


class Partners(NamedTuple):
    """For each of b rows a row of the other modality: rows (b,), and found (b,), false where there was none."""

    rows: Tensor
    found: Tensor


def avel_loss(similarities: Tensor, labels: Tensor, present: Tensor) -> Tensor:
    """Contrastive loss of (b, b) similarities, audio by face, in both directions (section 2.1; docs/network.md).

    Positives are all pairs with the same of `labels` (b,), averaged (L_out of Khosla et al. 2020). Rows that are not
    `present` (b,) are neither anchors, positives nor negatives; without any the loss is 0, with a gradient.
    """
    both_present = present[:, None] & present
    positive = (labels[:, None] == labels) & both_present
    directions = [_contrast(s, positive, both_present) for s in (similarities, similarities.T)]
    return (directions[0] + directions[1]) / 2


def _contrast(similarities: Tensor, positive: Tensor, both_present: Tensor) -> Tensor:
    # The smallest number instead of -inf: a row with nothing allowed must not become NaN.
    logits = similarities.masked_fill(~both_present, torch.finfo(similarities.dtype).min)
    log_p = logits.log_softmax(1).masked_fill(~positive, 0.0)
    counts = positive.sum(1)  # at least 1 for a present row: its own pair
    per_row = -log_p.sum(1) / counts.clamp(min=1)
    return per_row.sum() / (counts > 0).sum().clamp(min=1)


def draw_negatives(similarities: Tensor, labels: Tensor, present: Tensor, generator: torch.Generator) -> Partners:
    """For each row a hard negative: a column of another class, drawn by the softmax of similarities (section 2.3).

    similarities (b, b), labels and present (b,). One multinomial for all rows; nothing waits for the device.
    """
    allowed = (labels[:, None] != labels) & present[:, None] & present
    # Of a network that diverged the loss will tell; the draw must get through.
    logits = similarities.detach().nan_to_num().masked_fill(~allowed, torch.finfo(similarities.dtype).min)
    return _draw(logits.softmax(1), allowed, generator)


def draw_positives(labels: Tensor, utterances: Tensor, present: Tensor, generator: torch.Generator) -> Partners:
    """For each row another utterance of its class, all alike likely.

    labels, utterances and present (b,); sampling with replacement may bring an utterance twice, and the copy is not
    another one: from it the head could learn "same clip".
    """
    same = (labels[:, None] == labels) & (utterances[:, None] != utterances)
    allowed = same & present[:, None] & present
    return _draw(allowed.float(), allowed, generator)


def mem_loss(logits: Tensor, matches: Tensor, counted: Tensor) -> Tensor:
    """Cross entropy of one side's matching head over the counted pairs (section 2.3).

    logits (k, b, 2), matches (k, b) bool: the pair shares the emotion, counted (k, b) bool. None counted: 0, with a
    gradient.
    """
    each = F.cross_entropy(logits.flatten(0, 1), matches.flatten().long(), reduction="none")
    weights = counted.flatten().to(each.dtype)
    return (each * weights).sum() / weights.sum().clamp(min=1)


def _draw(weights: Tensor, allowed: Tensor, generator: torch.Generator) -> Partners:
    found = allowed.any(1)
    # A row with no candidate draws anything, and says that it found nothing.
    rows = torch.multinomial(weights.where(found[:, None], 1.0), 1, generator=generator).squeeze(1)
    return Partners(rows, found)
