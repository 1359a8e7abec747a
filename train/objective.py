"""What one training step minimises: L = L_ce + w_a L_avel + w_m L_mem (section 2.4)."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from .data import Batch
from .losses import avel_loss, draw_negatives, draw_positives, mem_loss
from .model import FoalNet
from .projection import Projected


class Losses(NamedTuple):
    """Scalars; `align` and `match` are unweighted, and 0 where the term is switched off."""

    total: Tensor
    classes: Tensor
    align: Tensor
    match: Tensor


class Pairs(NamedTuple):
    """The pairs that MEM judges, k = 3 for each row and side: its own, a hard negative, another of its class.

    audio and face (3, b): whom that side reads; matches (3, b) and counted (3, b) bool.
    """

    audio: Tensor
    face: Tensor
    matches: Tensor
    counted: Tensor


def objective(
    model: FoalNet, batch: Batch, *, align_weight: float | None, match_weight: float | None, generator: torch.Generator
) -> Losses:
    """The losses of a batch; a weight of None leaves its term out, as does a model of one modality."""
    projected = model.project(batch.frames)
    align = match = batch.labels.new_zeros((), dtype=torch.float32)
    if model.alignment is None:
        fused = model.fuse(projected)
        classes = _class_loss(model, fused, batch)
        return Losses(classes, classes, align, match)

    audio, face = projected["audio"], projected["face"]
    # Hard negatives need the similarities even where nobody learns from them.
    with torch.set_grad_enabled(torch.is_grad_enabled() and align_weight is not None):
        similarities = model.alignment(audio, face)
    if align_weight is not None:
        align = avel_loss(similarities, batch.labels, audio.present & face.present)
    if match_weight is None:
        fused = model.fuse(projected)
    else:
        pairs = draw_pairs(similarities, audio, face, batch, generator)
        # The own pairs are fused once, for the class head and for MEM.
        fused = model.fuse(projected, {"audio": pairs.audio, "face": pairs.face})
        sides = [mem_loss(logits, pairs.matches, pairs.counted) for logits in model.match(fused).values()]
        match = (sides[0] + sides[1]) / 2
    classes = _class_loss(model, fused, batch)
    return Losses(classes + (align_weight or 0) * align + (match_weight or 0) * match, classes, align, match)


def draw_pairs(
    similarities: Tensor, audio: Projected, face: Projected, batch: Batch, generator: torch.Generator
) -> Pairs:
    """MEM's pairs: rows without a negative are left out, so that a batch of one class teaches nothing wrong."""
    present = audio.present & face.present
    own = torch.arange(len(batch.labels), device=batch.labels.device)
    to_face = draw_negatives(similarities, batch.labels, present, generator)
    to_audio = draw_negatives(similarities.T, batch.labels, present, generator)
    positives = draw_positives(batch.labels, batch.rows, present, generator)
    usable = to_face.found  # the same rows as to_audio.found
    return Pairs(
        audio=torch.stack([own, to_face.rows, positives.rows]),
        face=torch.stack([own, to_audio.rows, positives.rows]),
        matches=torch.tensor([True, False, True], device=own.device)[:, None].expand(3, len(own)),
        counted=torch.stack([usable, usable, usable & positives.found]),
    )


def _class_loss(model: FoalNet, fused: dict[str, Tensor], batch: Batch) -> Tensor:
    return F.cross_entropy(model.classify({name: u[0] for name, u in fused.items()}), batch.labels)
