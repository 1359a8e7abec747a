"""Batches of utterances: class-balanced sampling, bucketing by length, padding."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ...shared.parallel.prefetch import prefetch
from .dataset import Dataset
from .features import Chunk
from .sequences import Batch, pad_batch

BUCKET_SIZE = 256
"""Utterances sorted by length together, rounded up to whole batches.

Enough for little padding, few enough that a batch is still a mixture.
"""
EVALUATION_BATCH_SIZE = 256
"""Utterances of a batch without gradients, which keeps no activations."""
MAX_EVALUATION_FRAMES = 32_768
"""Padded frames of a batch without gradients."""
PREFETCH_BYTES = 64 << 20
"""Memory for batches prepared ahead of the training step; a single larger batch is allowed."""


def training_batch_size(configured: int | None, utterances: int) -> int:
    """The configured batch size, or (None) a twelfth of the training group, between 16 and 96.

    A small group needs small batches: it would give too few steps otherwise.
    """
    return configured or min(max(utterances // 12, 16), 96)


def class_balanced_sample(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Draw n positions with replacement so that every class is equally likely.

    Args:
        labels: class numbers, (n,).
        generator: source of randomness, on the CPU.

    Returns:
        Positions in `labels`, (n,).
    """
    weights = (1.0 / torch.bincount(labels)[labels]).double()
    # Not torch.multinomial, which is limited to 2^24 categories.
    chosen = torch.rand(len(labels), generator=generator, dtype=torch.float64) * weights.sum()
    return torch.searchsorted(weights.cumsum(0), chosen, right=True).clamp(max=len(labels) - 1)


def bucketed(
    lengths: Tensor, rows: Tensor, *, batch_size: int, generator: torch.Generator, frames: int | None = None
) -> list[Tensor]:
    """Group positions into batches of similar length, and shuffle the batches.

    Copies of an utterance go to different batches of their bucket, as far as there are enough batches.

    Args:
        lengths: frames per utterance, (m,).
        rows: the utterances, (m,), with copies.
        batch_size: maximum utterances in a batch.
        generator: source of randomness, on the CPU.
        frames: maximum padded frames in a batch (None: unlimited).

    Returns:
        One tensor of positions per batch.
    """
    batches: list[Tensor] = []
    for bucket in torch.split(torch.arange(len(lengths)), -(-BUCKET_SIZE // batch_size) * batch_size):
        dealt = _deal_copies(bucket[lengths[bucket].argsort(stable=True)], rows, batch_size)
        batches += [part for batch in dealt for part in _limited(batch, lengths, frames)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator)]


def _deal_copies(positions: Tensor, rows: Tensor, batch_size: int) -> list[Tensor]:
    """Cut sorted positions into batches; each goes to the first batch with room that has no copy of its utterance."""
    if len(positions) <= batch_size or len(torch.unique(rows[positions])) == len(positions):
        return list(torch.split(positions, batch_size))
    sizes = [len(part) for part in torch.split(positions, batch_size)]
    batches: list[list[int]] = [[] for _ in sizes]
    members: list[set[int]] = [set() for _ in sizes]
    first = 0  # the first batch with room
    for position, row in zip(positions.tolist(), rows[positions].tolist(), strict=True):
        while len(batches[first]) == sizes[first]:
            first += 1
        room = (i for i in range(first, len(sizes)) if len(batches[i]) < sizes[i] and row not in members[i])
        chosen = next(room, first)
        batches[chosen].append(position)
        members[chosen].add(row)
    return [torch.tensor(batch) for batch in batches]


def _limited(batch: Tensor, lengths: Tensor, frames: int | None) -> Sequence[Tensor]:
    """Divide a batch into equal parts where `frames` is the limit."""
    if frames is None:
        return [batch]
    size = max(1, frames // max(int(lengths[batch].max()), 1))
    return torch.tensor_split(batch, -(-len(batch) // size))


def training_batches(
    data: Dataset,
    rows: Tensor,
    *,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device,
    frames: int | None = None,
) -> Iterator[Batch]:
    """Yield one epoch: m class-balanced draws from `rows` (m,), prepared in a thread ahead of the training step.

    Without classes, each of the rows once, in random order.

    Args:
        data: the dataset.
        rows: training rows, (m,).
        batch_size: maximum utterances in a batch.
        generator: source of randomness; the prefetch thread owns it until the last batch is yielded.
        device: device of the batches.
        frames: maximum padded frames in a batch (None: unlimited).
    """

    def batches() -> Iterator[Batch]:
        if data.classes:
            drawn = rows[class_balanced_sample(data.labels[rows], generator)]
        else:  # ratings only: every utterance once
            drawn = rows[torch.randperm(len(rows), generator=generator)]
        for chunk in data.features.iter_chunks(drawn, generator):
            lengths = data.features.lengths[chunk.rows]
            for chosen in bucketed(lengths, chunk.rows, batch_size=batch_size, generator=generator, frames=frames):
                yield collate(data, chunk, chosen, device)

    with prefetch([batches], threads=1, size=_bytes, budget=PREFETCH_BYTES) as queues:
        for queue in queues:
            yield from queue


def evaluation_batches(data: Dataset, rows: Tensor, *, batch_size: int, device: torch.device) -> Iterator[Batch]:
    """Yield every one of `rows` (m,) exactly once, utterances of similar length together."""
    if not len(rows):
        return
    for chunk in data.features.iter_chunks(rows):
        lengths = data.features.lengths[chunk.rows]
        for batch in torch.split(lengths.argsort(stable=True), batch_size):
            for chosen in _limited(batch, lengths, MAX_EVALUATION_FRAMES):
                yield collate(data, chunk, chosen, device)


def collate(data: Dataset, chunk: Chunk, chosen: Tensor, device: torch.device) -> Batch:
    """Pad the utterances at positions `chosen` (b,) of a chunk to their longest, on a device."""
    rows, positions = chunk.rows[chosen], chunk.positions[chosen]
    frames = {name: pad_batch(stream, positions, device) for name, stream in chunk.streams.items()}
    if data.speaker_statistics is not None:
        frames = {
            name: padded._replace(speaker=data.speaker_statistics.of(name, rows, device))
            for name, padded in frames.items()
        }
    targets = data.targets.of(rows, device)
    return Batch(rows=rows.to(device), labels=data.turn_labels[rows].to(device), frames=frames, **targets)


def _bytes(batch: Batch) -> int:
    return sum(frames.values.nbytes for frames in batch.frames.values())
