"""Which utterances make up each batch: class-balanced draws, bucketed by length; no loop over utterances."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ...shared.parallel.prefetch import prefetch
from .dataset import Dataset
from .features import Visit
from .sequences import Batch, gather

BUCKET = 256
"""Utterances sorted by length together: enough to pad little, few enough that a batch is still a mixture."""
EVALUATION_FRAMES = 32_768
"""Padded frames of a batch from which nobody learns."""
AHEAD_BYTES = 64 << 20
"""Batches that wait, made ahead of the step that needs them; one may, however large it is."""


def balanced_draws(labels: Tensor, generator: torch.Generator) -> Tensor:
    """As many draws as there are labels (n,), with replacement, every class equally likely: positions (n,)."""
    weights = (1.0 / torch.bincount(labels)[labels]).double()
    # Not torch.multinomial: that knows no more than 2^24 categories.
    chosen = torch.rand(len(labels), generator=generator, dtype=torch.float64) * weights.sum()
    return torch.searchsorted(weights.cumsum(0), chosen, right=True).clamp(max=len(labels) - 1)


def bucketed(
    lengths: Tensor, *, batch_size: int, generator: torch.Generator, frames: int | None = None
) -> list[Tensor]:
    """Positions in lengths (m,), in batches of similar length and at most so many padded `frames`, in random order."""
    batches: list[Tensor] = []
    for bucket in torch.split(torch.arange(len(lengths)), max(BUCKET, batch_size)):
        batches += _batches(bucket, lengths, batch_size, frames)
    return [batches[i] for i in torch.randperm(len(batches), generator=generator)]


def _batches(positions: Tensor, lengths: Tensor, batch_size: int, frames: int | None) -> list[Tensor]:
    """Neighbours in length together, in batches as large as they may be, of equal size where `frames` cuts them."""
    batches: list[Tensor] = []
    for batch in torch.split(positions[lengths[positions].argsort(stable=True)], batch_size):
        longest = max(int(lengths[batch].max()), 1)
        size = batch_size if frames is None else max(1, frames // longest)
        batches += torch.tensor_split(batch, -(-len(batch) // size))
    return batches


def training_batches(
    data: Dataset,
    rows: Tensor,
    *,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device,
    frames: int | None = None,
) -> Iterator[Batch]:
    """One epoch: as many class-balanced draws as `rows` (m,) are; made in a thread, ahead of the step that needs them.

    The generator belongs to that thread until the last batch is out.
    """

    def batches() -> Iterator[Batch]:
        drawn = rows[balanced_draws(data.labels[rows], generator)]
        for visit in data.features.visits(drawn, generator):
            lengths = data.features.lengths[visit.rows]
            for chosen in bucketed(lengths, batch_size=batch_size, generator=generator, frames=frames):
                yield collate(data, visit, chosen, device)

    with prefetch([batches], threads=1, size=_bytes, budget=AHEAD_BYTES) as lanes:
        for lane in lanes:
            yield from lane


def evaluation_batches(data: Dataset, rows: Tensor, *, batch_size: int, device: torch.device) -> Iterator[Batch]:
    """Every one of `rows` (m,), none of them twice, neighbours in length together; without any, none."""
    if not len(rows):
        return
    for visit in data.features.visits(rows):
        lengths = data.features.lengths[visit.rows]
        for chosen in _batches(torch.arange(len(lengths)), lengths, batch_size, EVALUATION_FRAMES):
            yield collate(data, visit, chosen, device)


def collate(data: Dataset, visit: Visit, chosen: Tensor, device: torch.device) -> Batch:
    """The utterances at positions `chosen` (b,) of a visit, padded to their longest."""
    rows, positions = visit.rows[chosen], visit.positions[chosen]
    frames = {name: gather(stream, positions, device) for name, stream in visit.streams.items()}
    return Batch(rows=rows.to(device), labels=data.labels[rows].to(device), frames=frames)


def _bytes(batch: Batch) -> int:
    return sum(frames.values.nbytes for frames in batch.frames.values())
