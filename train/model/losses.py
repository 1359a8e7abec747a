"""The auxiliary losses AVEL and MEM (Li et al. 2024, sections 2.1 and 2.3), and the sampling of MEM's pairs."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)


class SampledRows(NamedTuple):
    """For each of b rows a sampled row of the other modality, and whether a candidate existed."""

    rows: Int[Tensor, " b"]
    found: Bool[Tensor, " b"]


def avel_loss(
    similarities: Float[Tensor, "b b"],
    labels: Int[Tensor, " b"],
    present: Bool[Tensor, " b"],
    *,
    rows: Int[Tensor, " b"] | None = None,
    sum_positives: bool = False,
) -> Float[Tensor, ""]:
    """AVEL: supervised contrastive loss in both directions (section 2.1; docs/network.md).

    Args:
        similarities: row = audio, column = face.
        labels: class numbers.
        present: rows with both modalities; the others are neither anchors, positives nor negatives. If all are False,
            the loss is 0, with a gradient.
        rows: rows of the dataset, which show copies of an utterance: a copy is neither a positive nor a negative of
            another one (None: there are no copies).
        sum_positives: sum the log-probabilities of the positives (all pairs with the same label) as in the reference
            code, instead of averaging them (L_out of Khosla et al. 2020).
    """
    allowed = present[:, None] & present
    if rows is not None:
        own = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
        allowed = allowed & ((rows[:, None] != rows) | own)
    positive = (labels[:, None] == labels) & allowed
    directions = [contrast(s, positive, allowed, sum_positives) for s in (similarities, similarities.T)]
    return (directions[0] + directions[1]) / 2


def contrast(
    similarities: Float[Tensor, "b b"],
    positive: Bool[Tensor, "b b"],
    allowed: Bool[Tensor, "b b"],
    sum_positives: bool,
) -> Float[Tensor, ""]:
    """Mean negative log-probability of each row's positives among its allowed columns; rows without any do not count.

    Args:
        similarities: scaled similarities of b rows and columns.
        positive: the positives of each row, a part of `allowed`.
        allowed: the columns that the softmax of each row is over.
        sum_positives: sum over the positives of a row instead of averaging.
    """
    # The smallest number instead of -inf: a row without allowed entries must not become NaN.
    logits = similarities.masked_fill(~allowed, torch.finfo(similarities.dtype).min)
    log_p = logits.log_softmax(1).masked_fill(~positive, 0.0)
    counts = positive.sum(1)  # at least 1 for a present row: its own pair
    per_row = -log_p.sum(1) / (1 if sum_positives else counts.clamp(min=1))
    return per_row.sum() / (counts > 0).sum().clamp(min=1)


def draw_negatives(
    similarities: Float[Tensor, "b b"],
    labels: Int[Tensor, " b"],
    present: Bool[Tensor, " b"],
    generator: torch.Generator,
) -> SampledRows:
    """Sample a hard negative for each row: a column of another class, by the softmax of similarities (section 2.3).

    Args:
        similarities: similarity of each row to each column.
        labels: class numbers.
        present: rows with both modalities.
        generator: source of randomness, on the device.
    """
    allowed = (labels[:, None] != labels) & present[:, None] & present
    # A diverged network is reported through its loss; sampling must not fail before.
    logits = similarities.detach().nan_to_num().masked_fill(~allowed, torch.finfo(similarities.dtype).min)
    return _draw(logits.softmax(1), allowed, generator)


def draw_positives(
    labels: Int[Tensor, " b"], utterances: Int[Tensor, " b"], present: Bool[Tensor, " b"], generator: torch.Generator
) -> SampledRows:
    """Sample another utterance of the same class for each row, uniformly.

    Training batches are sampled with replacement; a second copy of the same utterance is excluded, since the head could
    learn "same clip" from it.

    Args:
        labels: class numbers.
        utterances: rows of the dataset, equal for copies of an utterance.
        present: rows with both modalities.
        generator: source of randomness, on the device.
    """
    same = (labels[:, None] == labels) & (utterances[:, None] != utterances)
    allowed = same & present[:, None] & present
    return _draw(allowed.float(), allowed, generator)


def mem_loss(
    logits: Float[Tensor, "k b 2"], matches: Bool[Tensor, "k b"], counted: Bool[Tensor, "k b"]
) -> Float[Tensor, ""]:
    """MEM: cross entropy of one modality's matching head (section 2.3).

    Args:
        logits: logits of "different" and "same emotion" of each pair.
        matches: which pairs have the same emotion.
        counted: which pairs count; if none does, the loss is 0, with a gradient.
    """
    each = F.cross_entropy(logits.flatten(0, 1), matches.flatten().long(), reduction="none")
    weights = counted.flatten().to(each.dtype)
    return (each * weights).sum() / weights.sum().clamp(min=1)


def _draw(weights: Float[Tensor, "b b"], allowed: Bool[Tensor, "b b"], generator: torch.Generator) -> SampledRows:
    found = allowed.any(1)
    # A row without candidates samples any row; `found` is False there.
    cumulative = weights.where(found[:, None], 1.0).double().cumsum(1)
    total = cumulative[:, -1:]
    # One uniform number per row. torch.multinomial draws one per element, which takes five times as long on a CPU.
    drawn = torch.rand(total.shape, generator=generator, dtype=total.dtype, device=total.device) * total
    # Below the total even after rounding, so that no column of weight zero is sampled.
    drawn = torch.minimum(drawn, total.nextafter(torch.zeros_like(total)))
    return SampledRows(torch.searchsorted(cumulative, drawn, right=True).squeeze(1), found)
