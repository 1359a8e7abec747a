"""What one training step minimises: L = L_ce + w_a L_avel + w_m L_mem (section 2.4)."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from ...shared.config.train_settings import TrainSettings
from ..data.sequences import Batch
from .foalnet import FoalNet
from .layers import Projected
from .losses import avel_loss, draw_negatives, draw_positives, mem_loss


class Losses(NamedTuple):
    """Scalars; `avel` and `mem` are unweighted, and 0 where the term is switched off."""

    total: Float[Tensor, ""]
    classes: Float[Tensor, ""]
    avel: Float[Tensor, ""]
    mem: Float[Tensor, ""]


class Pairs(NamedTuple):
    """The pairs that MEM judges, k = 3 for each row and side: its own, a hard negative, another of its class.

    `audio` and `face`: whom that side reads. The authors' code goes without the last: k = 2.
    """

    audio: Int[Tensor, "k b"]
    face: Int[Tensor, "k b"]
    matches: Bool[Tensor, "k b"]
    counted: Bool[Tensor, "k b"]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is minimised beside the classes: weights of AVEL and MEM (None: left out), and faults that are wanted."""

    avel: float | None
    mem: float | None
    sum_positives: bool = False
    own_pairs: bool = False
    same_class: bool = False

    @classmethod
    def of(cls, settings: TrainSettings) -> "Terms":
        """As the settings say."""
        return cls(
            avel=settings.avel_weight if settings.avel else None,
            mem=settings.mem_weight if settings.mem else None,
            sum_positives="sum" in settings.compat,
            own_pairs="own-pairs" in settings.compat,
            same_class="same-class" in settings.compat,
        )


def objective(model: FoalNet, batch: Batch, terms: Terms, generator: torch.Generator) -> Losses:
    """The losses of a batch; a model of one modality has neither AVEL nor MEM."""
    projected = model.project(batch.frames)
    avel = mem = batch.labels.new_zeros((), dtype=torch.float32)
    if model.alignment is None:
        fused = model.fuse(projected)
        classes = _class_loss(model, fused, batch)
        return Losses(classes, classes, avel, mem)

    audio, face = projected["audio"], projected["face"]
    # Hard negatives need the similarities even where nobody learns from them.
    with torch.set_grad_enabled(torch.is_grad_enabled() and terms.avel is not None):
        similarities = model.alignment(audio, face)
    if terms.avel is not None:
        avel = avel_loss(similarities, batch.labels, audio.present & face.present, sum_positives=terms.sum_positives)
    if terms.mem is None:
        fused = model.fuse(projected)
    else:
        pairs = draw_pairs(similarities, audio, face, batch, terms, generator)
        # The own pairs are fused once, for the class head and for MEM.
        fused = model.fuse(projected, {"audio": pairs.audio, "face": pairs.face})
        sides = [mem_loss(logits, pairs.matches, pairs.counted) for logits in model.match(fused).values()]
        mem = (sides[0] + sides[1]) / 2
    classes = _class_loss(model, fused, batch)
    return Losses(classes + (terms.avel or 0) * avel + (terms.mem or 0) * mem, classes, avel, mem)


def draw_pairs(
    similarities: Float[Tensor, "b b"],
    audio: Projected,
    face: Projected,
    batch: Batch,
    terms: Terms,
    generator: torch.Generator,
) -> Pairs:
    """MEM's pairs: rows without a negative are left out, so that a batch of one class teaches nothing wrong."""
    present = audio.present & face.present
    own = torch.arange(len(batch.labels), device=batch.labels.device)
    to_face = draw_negatives(similarities, batch.labels, present, generator)
    to_audio = draw_negatives(similarities.T, batch.labels, present, generator)
    # The same rows find a negative on both sides. With the fault, those that find none take whatever was drawn.
    usable = present if terms.same_class else to_face.found
    rows = {"audio": [own, to_face.rows], "face": [own, to_audio.rows]}
    matches, counted = [True, False], [usable, usable]
    if not terms.own_pairs:
        positives = draw_positives(batch.labels, batch.rows, present, generator)
        for some in rows.values():
            some.append(positives.rows)
        matches.append(True)
        counted.append(usable & positives.found)
    return Pairs(
        audio=torch.stack(rows["audio"]),
        face=torch.stack(rows["face"]),
        matches=torch.tensor(matches, device=own.device)[:, None].expand(len(matches), len(own)),
        counted=torch.stack(counted),
    )


def _class_loss(model: FoalNet, fused: dict[str, Tensor], batch: Batch) -> Tensor:
    return F.cross_entropy(model.classify({name: u[0] for name, u in fused.items()}), batch.labels)
