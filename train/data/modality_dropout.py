"""Batches without a modality or with every second frame: random in training, on purpose in evaluation."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from ...shared.config.settings import modality_of
from .sequences import Batch


def modality_dropout(batch: Batch, share: float | Mapping[str, float], generator: torch.Generator) -> Batch:
    """Remove inputs from random utterances. An utterance keeps at least one input; with a share of 0 nothing is drawn.

    Args:
        batch: b utterances.
        share: probability that an utterance loses one input, each equally often; or the probability that it loses an
            input, by input, modality or stream.
        generator: source of randomness, on the device of the batch.
    """
    if not share or len(batch.frames) < 2:
        return batch
    present = torch.stack([frames.valid.any(1) for frames in batch.frames.values()])  # (inputs, b)
    lost = _one_lost(present, share, generator) if isinstance(share, float) else _each_lost(batch, share, generator)
    # An utterance that would lose all of its inputs loses none.
    lost = lost & (present & ~lost).any(0)
    frames = {
        name: modality._replace(valid=modality.valid & ~lost[number][:, None])
        for number, (name, modality) in enumerate(batch.frames.items())
    }
    return replace(batch, frames=frames)


def _one_lost(present: Bool[Tensor, "m b"], share: float, generator: torch.Generator) -> Bool[Tensor, "m b"]:
    """Which of m inputs each utterance loses: with probability `share` one, which may be missing already."""
    count = len(present)
    draws = torch.rand(present.shape[1], generator=generator, device=present.device)
    parts = torch.tensor([share * part / count for part in range(1, count)], device=present.device)
    which = (draws < parts[:, None]).sum(0)  # from 0
    return (torch.arange(count, device=present.device)[:, None] == which) & (draws < share)


def _each_lost(batch: Batch, shares: Mapping[str, float], generator: torch.Generator) -> Bool[Tensor, "m b"]:
    """Which inputs each utterance loses, independently of each other."""
    device = batch.rows.device
    of_input = [shares.get(name, shares.get(modality_of(name), 0.0)) for name in batch.frames]
    draws = torch.rand(len(of_input), len(batch.rows), generator=generator, device=device)
    return draws < torch.tensor(of_input, device=device)[:, None]


def drop_modality(batch: Batch, modality: str) -> Batch:
    """Remove a modality from every utterance of the batch."""
    frames = batch.frames[modality]
    return replace(batch, frames={**batch.frames, modality: frames._replace(valid=torch.zeros_like(frames.valid))})


def drop_frames(batch: Batch, modality: str) -> Batch:
    """Mark every second frame of a modality as invalid, as if the encoder had run at half the rate."""
    frames = batch.frames[modality]
    kept = torch.arange(frames.valid.shape[1], device=frames.valid.device) % 2 == 0
    return replace(batch, frames={**batch.frames, modality: frames._replace(valid=frames.valid & kept)})
