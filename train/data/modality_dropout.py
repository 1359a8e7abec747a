"""Utterances that lose a modality, or every second frame: in training by chance, in evaluation on purpose."""

from dataclasses import replace

import torch

from .sequences import Batch, Frames


def without_one(batch: Batch, share: float, generator: torch.Generator) -> Batch:
    """The batch, a `share` of whose utterances has lost one modality, either alike likely.

    Nobody loses the only modality that is there. With a share of 0 nothing is drawn.
    """
    if share == 0 or len(batch.frames) < 2:
        return batch
    chance = torch.rand(len(batch.rows), generator=generator, device=batch.rows.device)
    present = torch.stack([frames.valid.any(1) for frames in batch.frames.values()])  # (modalities, b)
    loses = (chance < share) & present.all(0)
    which = (chance < share / 2).long()  # 0 or 1, alike likely among those that lose one
    frames = {
        name: Frames(values, valid & ~(loses & (which == number))[:, None])
        for number, (name, (values, valid)) in enumerate(batch.frames.items())
    }
    return replace(batch, frames=frames)


def without(batch: Batch, modality: str) -> Batch:
    """The batch, none of whose utterances has the modality."""
    values, valid = batch.frames[modality]
    return replace(batch, frames={**batch.frames, modality: Frames(values, torch.zeros_like(valid))})


def halved(batch: Batch, modality: str) -> Batch:
    """The batch with every second frame of the modality gone, as if it had been looked at half as often."""
    values, valid = batch.frames[modality]
    kept = torch.arange(valid.shape[1], device=valid.device) % 2 == 0
    return replace(batch, frames={**batch.frames, modality: Frames(values, valid & kept)})
