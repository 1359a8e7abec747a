"""The two auxiliary losses, AVEL and MEM, and the pairs that MEM looks at; all pure."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)


class Partners(NamedTuple):
    """For each of b rows a row of the other modality, and whether there was one."""

    rows: Int[Tensor, " b"]
    found: Bool[Tensor, " b"]


def avel_loss(
    similarities: Float[Tensor, "b b"],
    labels: Int[Tensor, " b"],
    present: Bool[Tensor, " b"],
    *,
    sum_positives: bool = False,
) -> Float[Tensor, ""]:
    """Contrastive loss of similarities, audio by face, in both directions (section 2.1; docs/network.md).

    Positives are all pairs with the same label, averaged (L_out of Khosla et al. 2020) or summed (as in the authors'
    code). Rows that are not `present` are neither anchors, positives nor negatives; without any the loss is 0, with a
    gradient.
    """
    both_present = present[:, None] & present
    positive = (labels[:, None] == labels) & both_present
    directions = [_contrast(s, positive, both_present, sum_positives) for s in (similarities, similarities.T)]
    return (directions[0] + directions[1]) / 2


def _contrast(
    similarities: Float[Tensor, "b b"],
    positive: Bool[Tensor, "b b"],
    both_present: Bool[Tensor, "b b"],
    sum_positives: bool,
) -> Float[Tensor, ""]:
    # The smallest number instead of -inf: a row with nothing allowed must not become NaN.
    logits = similarities.masked_fill(~both_present, torch.finfo(similarities.dtype).min)
    log_p = logits.log_softmax(1).masked_fill(~positive, 0.0)
    counts = positive.sum(1)  # at least 1 for a present row: its own pair
    per_row = -log_p.sum(1) / (1 if sum_positives else counts.clamp(min=1))
    return per_row.sum() / (counts > 0).sum().clamp(min=1)


def draw_negatives(
    similarities: Float[Tensor, "b b"],
    labels: Int[Tensor, " b"],
    present: Bool[Tensor, " b"],
    generator: torch.Generator,
) -> Partners:
    """For each row a hard negative: a column of another class, drawn by the softmax of similarities (section 2.3).

    One multinomial for all rows; nothing waits for the device.
    """
    allowed = (labels[:, None] != labels) & present[:, None] & present
    # Of a network that diverged the loss will tell; the draw must get through.
    logits = similarities.detach().nan_to_num().masked_fill(~allowed, torch.finfo(similarities.dtype).min)
    return _draw(logits.softmax(1), allowed, generator)


def draw_positives(
    labels: Int[Tensor, " b"], utterances: Int[Tensor, " b"], present: Bool[Tensor, " b"], generator: torch.Generator
) -> Partners:
    """For each row another utterance of its class, all alike likely.

    Sampling with replacement may bring an utterance twice, and the copy is not another one: from it the head could
    learn "same clip".
    """
    same = (labels[:, None] == labels) & (utterances[:, None] != utterances)
    allowed = same & present[:, None] & present
    return _draw(allowed.float(), allowed, generator)


def mem_loss(
    logits: Float[Tensor, "k b 2"], matches: Bool[Tensor, "k b"], counted: Bool[Tensor, "k b"]
) -> Float[Tensor, ""]:
    """Cross entropy of one side's matching head over the counted pairs, which match or not (section 2.3).

    None counted: 0, with a gradient.
    """
    each = F.cross_entropy(logits.flatten(0, 1), matches.flatten().long(), reduction="none")
    weights = counted.flatten().to(each.dtype)
    return (each * weights).sum() / weights.sum().clamp(min=1)


def _draw(weights: Float[Tensor, "b b"], allowed: Bool[Tensor, "b b"], generator: torch.Generator) -> Partners:
    found = allowed.any(1)
    # A row with no candidate draws anything, and says that it found nothing.
    rows = torch.multinomial(weights.where(found[:, None], 1.0), 1, generator=generator).squeeze(1)
    return Partners(rows, found)
