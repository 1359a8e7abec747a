"""Batches without a modality or with every second frame: random in training, on purpose in evaluation."""

from dataclasses import replace

import torch

from .sequences import Batch


def modality_dropout(batch: Batch, share: float, generator: torch.Generator) -> Batch:
    """Remove one input from a random share of the utterances, each input equally often.

    An utterance keeps its only input. With a share of 0 no random number is drawn.

    Args:
        batch: b utterances.
        share: probability that an utterance loses a modality, 0 to 1.
        generator: source of randomness, on the device of the batch.
    """
    if share == 0 or len(batch.frames) < 2:
        return batch
    draws = torch.rand(len(batch.rows), generator=generator, device=batch.rows.device)
    present = torch.stack([frames.valid.any(1) for frames in batch.frames.values()])  # (inputs, b)
    count = len(present)
    which = sum((draws < share * part / count).long() for part in range(1, count))  # the input that is lost, from 0
    loses = (draws < share) & (present.sum(0) > 1)
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
