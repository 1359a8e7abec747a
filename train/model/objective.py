"""The loss of a training step: L = L_ce + w_a L_avel + w_m L_mem (Li et al. 2024, section 2.4)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from ...shared.config.train_settings import TrainSettings
from ..data.sequences import Batch
from ..data.streams import input_pairs
from .foalnet import FoalNet
from .fusion.base import Fused, Supervision
from .losses import avel_loss, draw_negatives, draw_positives, mem_loss
from .pooling import Projected
from .ratings import ccc_loss


class Losses(NamedTuple):
    """Scalar losses; `avel`, `mem` and `ratings` are unweighted, and 0 if disabled; `classes` is 0 without classes.

    `fusion` is the weighted sum of the fusion head's own losses.
    """

    total: Float[Tensor, ""]
    classes: Float[Tensor, ""]
    avel: Float[Tensor, ""]
    mem: Float[Tensor, ""]
    ratings: Float[Tensor, ""]
    fusion: Float[Tensor, ""]


class Pairs(NamedTuple):
    """MEM's pairs of two inputs, k = 3 for each row: its own, a hard negative, another utterance of its class.

    `first` are the rows of the second input that the first one reads, `second` those of the first input. The reference
    code has no third pair, k = 2.
    """

    first: Int[Tensor, "k b"]
    second: Int[Tensor, "k b"]
    matches: Bool[Tensor, "k b"]
    counted: Bool[Tensor, "k b"]


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of AVEL and MEM (None: disabled), and deviations of the reference code.

    Attributes:
        avel: weight of AVEL.
        mem: weight of MEM.
        sum_positives: AVEL sums over positives instead of averaging.
        own_pairs: the only matching pair of MEM is a row's own.
        same_class: in batches of a single class, MEM's negatives are of the same class.
        rating_weight: weight of the loss of ratings beside that of classes.
    """

    avel: float | None
    mem: float | None
    sum_positives: bool = False
    own_pairs: bool = False
    same_class: bool = False
    rating_weight: float = 1.0

    @classmethod
    def from_settings(cls, settings: TrainSettings) -> "LossConfig":
        """The configuration that the settings define."""
        return cls(
            # AVEL and MEM compare classes.
            avel=settings.avel_weight if settings.avel and settings.has_classes else None,
            mem=settings.mem_weight if settings.mem and settings.has_classes else None,
            sum_positives="sum" in settings.compat,
            own_pairs="own-pairs" in settings.compat,
            same_class="same-class" in settings.compat,
            rating_weight=settings.rating_weight if settings.has_classes else 1.0,
        )


def objective(model: FoalNet, batch: Batch, config: LossConfig, generator: torch.Generator) -> Losses:
    """Compute the losses of a batch; a model of one input has neither AVEL nor MEM.

    AVEL is the mean over all pairs of inputs, MEM the mean over both directions of all pairs.

    Args:
        model: the network.
        batch: b utterances.
        config: weights of the losses.
        generator: source of randomness of MEM's pairs, on the device.
    """
    projected = model.project(batch.frames)
    avel = mem = batch.labels.new_zeros((), dtype=torch.float32)
    if model.alignment is None:
        return _losses(model, model.head(projected), projected, batch, config, avel=avel, mem=mem)

    inputs = input_pairs(list(projected))
    # Hard negatives need the similarities even if AVEL is disabled.
    with torch.set_grad_enabled(torch.is_grad_enabled() and config.avel is not None):
        similarities = {(a, b): model.alignment(projected[a], projected[b]) for a, b in inputs}
    if config.avel is not None:
        # The reference code counts copies as positives.
        rows = None if config.sum_positives else batch.rows
        avel = _mean(
            avel_loss(
                similarities[a, b],
                batch.labels,
                projected[a].present & projected[b].present,
                rows=rows,
                sum_positives=config.sum_positives,
            )
            for a, b in inputs
        )
    if config.mem is None:
        fused = model.head(projected)
    else:
        pairs = {
            (a, b): draw_pairs(similarities[a, b], projected[a], projected[b], batch, config, generator)
            for a, b in inputs
        }
        # Each row's own pair is fused once, for the classifier and for MEM.
        partners = {(a, b): drawn.first for (a, b), drawn in pairs.items()}
        partners |= {(b, a): drawn.second for (a, b), drawn in pairs.items()}
        fused_pairs = model.head.fuse_pairs(projected, partners)
        fused, matched = fused_pairs.own, model.match(fused_pairs)
        mem = _mean(
            mem_loss(matched[direction], drawn.matches, drawn.counted)
            for (a, b), drawn in pairs.items()
            for direction in ((a, b), (b, a))
        )
    return _losses(model, fused, projected, batch, config, avel=avel, mem=mem)


def _mean(losses: Iterable[Float[Tensor, ""]]) -> Float[Tensor, ""]:
    values = list(losses)
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total / len(values)


def draw_pairs(
    similarities: Float[Tensor, "b b"],
    first: Projected,
    second: Projected,
    batch: Batch,
    config: LossConfig,
    generator: torch.Generator,
) -> Pairs:
    """Sample MEM's pairs; rows without a negative are not counted, as in batches of a single class."""
    present = first.present & second.present
    own = torch.arange(len(batch.labels), device=batch.labels.device)
    to_second = draw_negatives(similarities, batch.labels, present, generator)
    to_first = draw_negatives(similarities.T, batch.labels, present, generator)
    # The same rows have a negative in both inputs. With `same_class`, rows without one use the sampled row.
    usable = present if config.same_class else to_second.found
    rows = {"first": [own, to_second.rows], "second": [own, to_first.rows]}
    matches, counted = [True, False], [usable, usable]
    if not config.own_pairs:
        positives = draw_positives(batch.labels, batch.rows, present, generator)
        for partners in rows.values():
            partners.append(positives.rows)
        matches.append(True)
        counted.append(usable & positives.found)
    return Pairs(
        first=torch.stack(rows["first"]),
        second=torch.stack(rows["second"]),
        matches=torch.tensor(matches, device=own.device)[:, None].expand(len(matches), len(own)),
        counted=torch.stack(counted),
    )


def _losses(
    model: FoalNet,
    fused: Fused,
    projected: Mapping[str, Projected],
    batch: Batch,
    config: LossConfig,
    *,
    avel: Float[Tensor, ""],
    mem: Float[Tensor, ""],
) -> Losses:
    """The losses of the targets (classes or soft labels, ratings) and of the fusion head, beside AVEL and MEM."""
    outputs = model.classify(fused, projected)
    count = model.architecture.classes
    classes = ratings = fusion = batch.labels.new_zeros((), dtype=torch.float32)
    if count:
        classes = F.cross_entropy(outputs[:, :count], batch.labels if batch.shares is None else batch.shares)
    total = classes
    if batch.ratings is not None:
        ratings = ccc_loss(outputs[:, count:], batch.ratings)
        total = total + config.rating_weight * ratings
    supervision = Supervision(labels=batch.labels if count else None, rows=batch.rows)
    extra = model.head.extra_losses(fused, projected, supervision)
    if extra:
        fusion = torch.stack(list(extra.values())).sum()
        total = total + fusion
    total = total + (config.avel or 0) * avel + (config.mem or 0) * mem
    return Losses(total, classes, avel, mem, ratings, fusion)
