"""Which utterances make up each batch: class-balanced draws, bucketed by length. Everything here is on the CPU."""

import torch
from torch import Tensor

BUCKET_BATCHES = 8
"""Batches sorted by length together: enough to pad little, few enough that a batch is still a mixture."""


def balanced_draws(labels: Tensor, generator: torch.Generator) -> Tensor:
    """As many draws as there are labels (n,), with replacement, every class equally likely: positions (n,)."""
    weights = 1.0 / torch.bincount(labels)[labels]
    return torch.multinomial(weights, len(labels), replacement=True, generator=generator)


def training_batches(
    rows: Tensor, labels: Tensor, lengths: Tensor, *, batch_size: int, generator: torch.Generator
) -> list[Tensor]:
    """One epoch: as many draws as `rows` (m,) are, in batches of similar length, in random order.

    labels and lengths (n,) are those of the whole dataset, rows point into it, and so do the batches.
    """
    drawn = rows[balanced_draws(labels[rows], generator)]
    batches: list[Tensor] = []
    for bucket in torch.split(drawn, BUCKET_BATCHES * batch_size):
        batches += torch.split(bucket[lengths[bucket].argsort(stable=True)], batch_size)
    return [batches[i] for i in torch.randperm(len(batches), generator=generator)]


def evaluation_batches(rows: Tensor, lengths: Tensor, *, batch_size: int) -> list[Tensor]:
    """Every one of `rows` once, as positions in it, neighbours in length together."""
    return list(torch.split(lengths[rows].argsort(stable=True), batch_size))
