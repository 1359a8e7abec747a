"""Batches of whole dialogs: all turns of each dialog, in order, those without a label included."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..data.batches import collate
from ..data.dataset import NO_CLASS, Dataset
from ..data.sequences import Batch
from ..folds.dialogs import speaker_numbers

MAX_EVALUATION_TURNS = 4096
"""Turns of a batch without gradients, padding included."""


@dataclass(frozen=True, kw_only=True)
class DialogBatch(Batch):
    """u turns of some dialogs, one dialog after the other, each turn a sequence of one frame.

    Rows from n on are context. Labels are NO_CLASS where a turn is not trained on or scored: context, and rows outside
    of the part of the fold.

    Attributes:
        turns: number of turns of each dialog; u is their sum.
        speakers: number of the speaker of each turn within its dialog, see `speaker_numbers`, (u,).
        weights: weight of each turn's loss, (u,).
        labelled: number of turns with a label.
    """

    turns: Sequence[int]
    speakers: Tensor
    weights: Tensor
    labelled: int

    @property
    def size(self) -> int:
        """Number of turns that are trained on or scored."""
        return self.labelled

    @property
    def scored(self) -> Tensor:
        """Positions of the turns that are trained on or scored, (size,), on the CPU."""
        return (self.labels != NO_CLASS).nonzero().squeeze(1).cpu()


def dialogs_of(data: Dataset, rows: Tensor) -> list[Tensor]:
    """The dialogs that contain some of `rows` (m,): the rows of their turns in order."""
    wanted = _mask(data, rows)
    return [dialog for dialog in data.dialogs if wanted[dialog].any()]


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """The weight of each class, (c,), with which all classes of `labels` (m,) weigh the same; their mean is 1.

    A dialog cannot be drawn class by class, as utterances are; the loss is weighted instead.
    """
    counts = torch.bincount(labels, minlength=classes)
    return len(labels) / (counts.clamp(min=1) * int((counts > 0).sum()))


def dialog_training_batches(
    data: Dataset, rows: Tensor, *, batch_size: int, generator: torch.Generator, device: torch.device
) -> Iterator[DialogBatch]:
    """Yield one epoch: every dialog of `rows` (m,) once, dialogs of similar length together, in random order.

    Args:
        data: the dataset.
        rows: training rows, (m,).
        batch_size: maximum turns in a batch, padding included; a longer dialog is a batch of its own.
        generator: source of randomness, on the CPU.
        device: device of the batches.
    """
    dialogs = dialogs_of(data, rows)
    shuffled = [dialogs[i] for i in torch.randperm(len(dialogs), generator=generator)]
    batches = _bucketed(shuffled, batch_size)
    weights = class_weights(data.labels[rows], len(data.classes))
    for number in torch.randperm(len(batches), generator=generator).tolist():
        yield dialog_batch(data, batches[number], rows, device, weights)


def dialog_evaluation_batches(data: Dataset, rows: Tensor, *, device: torch.device) -> Iterator[DialogBatch]:
    """Yield every dialog of `rows` (m,) exactly once, dialogs of similar length together."""
    for dialogs in _bucketed(dialogs_of(data, rows), MAX_EVALUATION_TURNS):
        yield dialog_batch(data, dialogs, rows, device)


def dialog_batch(
    data: Dataset, dialogs: Sequence[Tensor], rows: Tensor, device: torch.device, weights: Tensor | None = None
) -> DialogBatch:
    """A batch of some dialogs, of whose turns only `rows` (m,) keep their labels.

    Args:
        data: the dataset.
        dialogs: rows of the turns of each dialog, in order.
        rows: the rows that are trained on or scored.
        device: device of the batch.
        weights: weight of each class in the loss, (c,) (None: 1).
    """
    turns = torch.cat(list(dialogs))
    (chunk,) = data.features.iter_chunks(turns)
    batch = collate(data, chunk, torch.arange(len(turns)), device)
    labels = torch.where(_mask(data, rows)[turns], data.turn_labels[turns], NO_CLASS)
    of_class = torch.ones(len(data.classes)) if weights is None else weights
    return DialogBatch(
        rows=batch.rows,
        labels=labels.to(device),
        frames=batch.frames,
        turns=[len(dialog) for dialog in dialogs],
        speakers=torch.cat([_speakers(data, dialog) for dialog in dialogs]).to(device),
        weights=torch.where(labels == NO_CLASS, 0.0, of_class[labels]).to(device),
        labelled=int((labels != NO_CLASS).sum()),
    )


def _bucketed(dialogs: Sequence[Tensor], turns: int) -> list[list[Tensor]]:
    """Group dialogs of similar length into batches of at most `turns` turns, padding included."""
    batches: list[list[Tensor]] = []
    for dialog in sorted(dialogs, key=len):
        # The last one is the longest, to which the others are padded.
        if not batches or (len(batches[-1]) + 1) * len(dialog) > turns:
            batches.append([])
        batches[-1].append(dialog)
    return batches


def _speakers(data: Dataset, dialog: Tensor) -> Tensor:
    """The number of the speaker of each turn of a dialog."""
    n = len(data)
    turns = [data.utterances[row] if row < n else data.context[row - n] for row in dialog.tolist()]
    return torch.tensor(speaker_numbers(turns))


def _mask(data: Dataset, rows: Tensor) -> Tensor:
    return torch.zeros(len(data.turn_labels), dtype=torch.bool).index_fill_(0, rows, True)
