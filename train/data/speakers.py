"""Statistics of each speaker's features, over all utterances of the speaker in feats.h5, labelled or not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, kw_only=True)
class SpeakerStatistics:
    """Statistics of s speakers by modality.

    Attributes:
        rows: number of the speaker of each utterance of the dataset, (n,).
        means: mean over the valid frames of a speaker, (s, [layers,] width).
        variances: variance over these frames, (s, [layers,] width).
        weights: weight of the speaker's statistics, (s,): utterances / (utterances + SHRINKAGE).
        utterances: utterances of each speaker in feats.h5, (s,).
    """

    rows: Tensor
    utterances: Tensor
    means: Mapping[str, Tensor]
    variances: Mapping[str, Tensor]
    weights: Mapping[str, Tensor]

    def of(self, name: str, rows: Tensor, device: torch.device) -> SpeakerNorm:
        """The statistics of the speakers of some rows (b,) of the dataset."""
        chosen = self.rows[rows.cpu()]
        tables = (self.means[name], self.variances[name], self.weights[name])
        return SpeakerNorm(*(table[chosen].to(device, non_blocking=True) for table in tables))


def speaker_key(utterance: Utterance) -> str:
    """Speaker name, unique across corpora; an utterance without a speaker counts as its own speaker."""
    return f"{utterance.corpus}/{utterance.speaker}" if utterance.speaker else f"{utterance.corpus}//{utterance.id}"


def read_speaker_statistics(
    store: FeatureStore, rows: Sequence[int], sources: Mapping[str, StreamSource]
) -> SpeakerStatistics:
    """Compute the statistics of the speakers of some utterances, over all utterances of these speakers in the store.

    No label is read.

    Args:
        store: an open store.
        rows: rows of the dataset's utterances in the store, n.
        sources: stream by modality.

    Raises:
        TrainingError: no utterance has a speaker.
        StoreError: the features cannot be read.
    """
    if not any(store.utterances[row].speaker for row in rows):
        raise TrainingError(
            f"{store.path}: --normalize speaker needs speakers, but no utterance has one; fill the column speaker of "
            "the manifest, or use --normalize fold"
        )
    numbers: dict[str, int] = {}
    own = [numbers.setdefault(speaker_key(store.utterances[row]), len(numbers)) for row in rows]
    members = [row for row, utterance in enumerate(store.utterances) if speaker_key(utterance) in numbers]
    sums: dict[str, _SpeakerSums] = {}
    for block in _blocks(members):
        speakers = torch.tensor([numbers[speaker_key(store.utterances[row])] for row in block])
        for name, stream in read_streams(store, block, sources).items():
            sums.setdefault(name, _SpeakerSums(stream, len(numbers))).add(stream, speakers)
    statistics = {name: total.statistics() for name, total in sums.items()}
    return SpeakerStatistics(
        rows=torch.tensor(own),
        utterances=torch.bincount(torch.tensor([numbers[speaker_key(store.utterances[row])] for row in members])),
        means={name: mean for name, (mean, _, _) in statistics.items()},
        variances={name: variance for name, (_, variance, _) in statistics.items()},
        weights={name: count / (count + SHRINKAGE) for name, (_, _, count) in statistics.items()},
    )


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

    def statistics(self) -> tuple[Tensor, Tensor, Tensor]:
        count = self.frames.clamp(min=1).view(-1, *[1] * (self.total.dim() - 1))
        mean = self.total / count
        variance = (self.squares / count - mean.square()).clamp(min=0)
        return mean.float(), variance.float(), self.utterances


def _blocks(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    for first in range(0, len(rows), UTTERANCES_AT_ONCE):
        yield rows[first : first + UTTERANCES_AT_ONCE]
