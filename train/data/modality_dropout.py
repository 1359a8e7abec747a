"""Batches without a modality or with every second frame: random in training, on purpose in evaluation."""

from dataclasses import replace

import torch

from .sequences import Batch


def modality_dropout(batch: Batch, share: float, generator: torch.Generator) -> Batch:
    """Remove one modality from a random share of the utterances, each modality equally often.

    An utterance with only one modality keeps it. With a share of 0 no random number is drawn.

    Args:
        batch: b utterances.
        share: probability that an utterance loses a modality, 0 to 1.
        generator: source of randomness, on the device of the batch.
    """
    if share == 0 or len(batch.frames) < 2:
        return batch
    draws = torch.rand(len(batch.rows), generator=generator, device=batch.rows.device)
    present = torch.stack([frames.valid.any(1) for frames in batch.frames.values()])  # (modalities, b)
    loses = (draws < share) & present.all(0)
    which = (draws < share / 2).long()  # the modality that is lost, 0 or 1
    frames = {
        name: modality._replace(valid=modality.valid & ~(loses & (which == number))[:, None])
        for number, (name, modality) in enumerate(batch.frames.items())
    }
    return replace(batch, frames=frames)


def drop_modality(batch: Batch, modality: str) -> Batch:
    """Remove a modality from every utterance of the batch."""
    frames = batch.frames[modality]
    return replace(batch, frames={**batch.frames, modality: frames._replace(valid=torch.zeros_like(frames.valid))})


def drop_frames(batch: Batch, modality: str) -> Batch:
    """Mark every second frame of a modality as invalid, as if the encoder had run at half the rate."""
    frames = batch.frames[modality]
    kept = torch.arange(frames.valid.shape[1], device=frames.valid.device) % 2 == 0
    return replace(batch, frames={**batch.frames, modality: frames._replace(valid=frames.valid & kept)})
