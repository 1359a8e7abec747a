"""What is done by speaker: the statistics of a speaker's features, and the choice of development speakers."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import torch
from torch import Tensor

from ...shared.errors import TrainingError
from ...shared.store.feature_store import FeatureStore
from ...shared.utterance import Utterance
from .features import StreamSource, read_streams
from .sequences import PackedSequences, SpeakerNorm, frame_index

SHRINKAGE = 2.0
"""Utterances at which a speaker's statistics and those of the training group have equal weight (docs/decisions.md)."""
UTTERANCES_AT_ONCE = 512
ReadStreams = Callable[[FeatureStore, Sequence[int], Mapping[str, StreamSource]], Mapping[str, PackedSequences]]
DEV_SEED = 0
"""Seed of the choice of development speakers; the folds of a dataset do not depend on the seeds of training."""


class SpeakerTable(NamedTuple):
    """Statistics of s speakers in one modality.

    Attributes:
        means: mean over the valid frames of a speaker, (s, [layers,] width).
        variances: variance over these frames, (s, [layers,] width).
        weights: weight of the speaker's statistics, (s,): utterances / (utterances + SHRINKAGE).
    """

    means: Tensor
    variances: Tensor
    weights: Tensor


@dataclass(frozen=True, kw_only=True)
class SpeakerStatistics:
    """Statistics of s speakers by modality.

    Attributes:
        rows: number of the speaker of each utterance of the dataset, (n,).
        utterances: utterances of each speaker in feats.h5, (s,).
        read: computes the tables; called once, when the first batch needs them. A process that opens a dataset for
            its index only reads no features.
    """

    rows: Tensor
    utterances: Tensor
    read: Callable[[], Mapping[str, SpeakerTable]]

    @cached_property
    def tables(self) -> Mapping[str, SpeakerTable]:
        """The statistics by modality. Raises StoreError if the features cannot be read."""
        return self.read()

    def of(self, name: str, rows: Tensor, device: torch.device) -> SpeakerNorm:
        """The statistics of the speakers of some rows (b,) of the dataset."""
        chosen = self.rows[rows.cpu()]
        return SpeakerNorm(*(part[chosen].to(device, non_blocking=True) for part in self.tables[name]))


def speaker_key(utterance: Utterance) -> str:
    """Speaker name, unique across corpora; an utterance without a speaker counts as its own speaker."""
    return f"{utterance.corpus}/{utterance.speaker}" if utterance.speaker else f"{utterance.corpus}//{utterance.id}"


def development_rows(
    utterances: Sequence[Utterance], speakers: Sequence[str], train: Sequence[int], share: float
) -> tuple[frozenset[int], str]:
    """Choose a development set from a training set: whole speakers, or utterances if a speaker is unknown.

    Args:
        utterances: the utterances, n.
        speakers: speaker of each utterance, unique across corpora, n.
        train: rows of the training set.
        share: wanted share of the training set. At least one speaker is taken, and one is left.

    Returns:
        The rows of the development set, and a sentence about it for the results.

    Raises:
        TrainingError: the training set has a single speaker.
    """
    by_speaker = all(utterances[row].speaker for row in train)
    members: dict[str, list[int]] = {}
    for row in train:
        members.setdefault(speakers[row] if by_speaker else utterances[row].id, []).append(row)
    names = sorted(members)
    if len(names) < 2:
        raise TrainingError(
            f"--dev-from-train: expected at least two speakers in the training set, got only {names[0]}; mark rows "
            "with fold dev in the manifest"
        )
    random.Random(DEV_SEED).shuffle(names)
    chosen: list[int] = []
    taken = 0
    for name in names[:-1]:
        # Only whole speakers that bring the share closer to the wanted one.
        if not chosen or len(chosen) + len(members[name]) / 2 <= share * len(train):
            chosen += members[name]
            taken += 1
    whole = f" ({taken} of {len(names)} speakers)" if by_speaker else ", whose speakers are unknown"
    return frozenset(chosen), (
        f"development set taken from the training set: {len(chosen)} of {len(train)} utterances{whole}, "
        f"{len(chosen) / len(train):.0%} (wanted: {share:.0%}, seed: {DEV_SEED})"
    )


def speaker_statistics(
    store: FeatureStore, rows: Sequence[int], sources: Mapping[str, StreamSource], read: ReadStreams = read_streams
) -> SpeakerStatistics:
    """The statistics of the speakers of some utterances, over all utterances of these speakers in the store.

    No label is read.

    Args:
        store: a store that stays open until the statistics are read.
        rows: rows of the dataset's utterances in the store, n.
        sources: stream by modality.
        read: reads the features of which the statistics are taken.

    Raises:
        TrainingError: no utterance has a speaker.
    """
    if not any(store.utterances[row].speaker for row in rows):
        raise TrainingError(
            f"{store.path}: --normalize speaker needs speakers, but no utterance has one; fill the column speaker of "
            "the manifest, or use --normalize fold"
        )
    numbers: dict[str, int] = {}
    own = [numbers.setdefault(speaker_key(store.utterances[row]), len(numbers)) for row in rows]
    speakers = {
        row: numbers[key]
        for row, utterance in enumerate(store.utterances)
        if (key := speaker_key(utterance)) in numbers
    }
    return SpeakerStatistics(
        rows=torch.tensor(own),
        utterances=torch.bincount(torch.tensor(list(speakers.values()))),
        read=partial(_read_tables, lambda block: read(store, block, sources), speakers, len(numbers)),
    )


def _read_tables(
    read: Callable[[Sequence[int]], Mapping[str, PackedSequences]], speakers: Mapping[int, int], count: int
) -> dict[str, SpeakerTable]:
    """Read the utterances `speakers` (row of the store: number of the speaker) in blocks, and sum them up."""
    sums: dict[str, _SpeakerSums] = {}
    for block in _blocks(list(speakers)):
        numbers = torch.tensor([speakers[row] for row in block])
        for name, stream in read(block).items():
            sums.setdefault(name, _SpeakerSums(stream, count)).add(stream, numbers)
    return {name: total.table() for name, total in sums.items()}


class _SpeakerSums:
    """Running sums of one modality by speaker, in double precision."""

    def __init__(self, like: PackedSequences, speakers: int) -> None:
        self.total = torch.zeros(speakers, *like.frame_shape, dtype=torch.float64)
        self.squares = self.total.clone()
        self.frames = torch.zeros(speakers, dtype=torch.float64)
        self.utterances = torch.zeros(speakers)

    def add(self, stream: PackedSequences, speakers: Tensor) -> None:
        index = frame_index(stream, torch.arange(len(speakers)))
        owner = torch.repeat_interleave(torch.arange(len(speakers)), stream.lengths)
        valid = stream.valid[index]
        owner, values = owner[valid], stream.values[index[valid]].double()
        self.total.index_add_(0, speakers[owner], values)
        self.squares.index_add_(0, speakers[owner], values.square())
        self.frames += torch.bincount(speakers[owner], minlength=len(self.frames))
        self.utterances += torch.bincount(speakers[torch.unique(owner)], minlength=len(self.utterances))

    def table(self) -> SpeakerTable:
        count = self.frames.clamp(min=1).view(-1, *[1] * (self.total.dim() - 1))
        mean = self.total / count
        variance = (self.squares / count - mean.square()).clamp(min=0)
        return SpeakerTable(mean.float(), variance.float(), self.utterances / (self.utterances + SHRINKAGE))


def _blocks(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    for first in range(0, len(rows), UTTERANCES_AT_ONCE):
        yield rows[first : first + UTTERANCES_AT_ONCE]
