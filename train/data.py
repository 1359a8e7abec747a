"""What is trained on: packed features per modality, labels and fold groups; and batches cut from them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

CHUNK_FRAMES = 65_536
"""Frames handled at once in wider numbers than they are stored in: 400 MB in double precision at a width of 768."""


class Frames(NamedTuple):
    """A batch of sequences: values (b, t, [layers,] width) and valid (b, t) bool.

    What stands at an invalid frame (no face found, or padding) must not matter to anyone.
    """

    values: Tensor
    valid: Tensor


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One modality of all utterances, end to end.

    values (sum of t, [layers,] width) as stored, at least one row; valid (sum of t,) bool; starts and lengths (n,)
    int64, always on the CPU, where batches are planned.
    """

    values: Tensor
    valid: Tensor
    starts: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, values: Tensor, valid: Tensor, offsets: Tensor) -> "Stream":
        """From packed rows with offsets (n + 1); a stream without any frame gets one that nobody owns."""
        if len(values) == 0:
            values, valid = values.new_zeros(1, *values.shape[1:]), valid.new_zeros(1)
        return cls(values=values, valid=valid, starts=offsets[:-1], lengths=offsets.diff())

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """([layers,] width)."""
        return tuple(self.values.shape[1:])


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """n labelled utterances with everything that training and its protocol need to know of them.

    labels (n,) index `classes`; `groups` are what the protocol leaves out (sessions, or the manifest's own folds,
    as `group_kind` says); `notes` tell what was left out on the way here.
    """

    ids: tuple[str, ...]
    speakers: tuple[str, ...]
    groups: tuple[str, ...]
    group_kind: str
    classes: tuple[str, ...]
    labels: Tensor
    streams: Mapping[str, Stream]
    notes: tuple[str, ...] = ()

    @property
    def lengths(self) -> Tensor:
        """Frames of each utterance over all modalities, (n,): what a step on it costs."""
        return torch.stack([stream.lengths for stream in self.streams.values()]).sum(0)

    @property
    def device(self) -> torch.device:
        """Where labels and features lie."""
        return self.labels.device

    def to(self, device: torch.device) -> "Dataset":
        """The same with labels and features on a device; IEMOCAP in wav2vec2-base is 2 GB in float16."""
        streams = {
            name: replace(stream, values=stream.values.to(device), valid=stream.valid.to(device))
            for name, stream in self.streams.items()
        }
        return replace(self, labels=self.labels.to(device), streams=streams)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """b utterances: their rows in the dataset (b,), labels (b,), and padded frames per modality."""

    rows: Tensor
    labels: Tensor
    frames: Mapping[str, Frames]


def collate(data: Dataset, rows: Tensor) -> Batch:
    """Pad the utterances `rows` (b,), on the CPU, to their longest: one gather per modality, no loop over them."""
    frames = {name: _gather(stream, rows) for name, stream in data.streams.items()}
    there = rows.to(data.device)
    return Batch(rows=there, labels=data.labels[there], frames=frames)


def averaged(stream: Stream, *, rate_hz: float, to_hz: float) -> Stream:
    """The stream with at most `to_hz` frames per second: means over the valid frames of windows of 1 / to_hz seconds.

    Unchanged if it is no faster than that. A window is valid if one of its frames is.
    """
    if rate_hz <= to_hz:
        return stream

    def windows(frames: Tensor) -> Tensor:
        return (frames.double() * (to_hz / rate_hz) + 1e-9).long()  # 0.2 * 15 must not become window 2

    counts = torch.where(stream.lengths > 0, windows(stream.lengths - 1) + 1, 0)  # (n,)
    starts = counts.cumsum(0) - counts
    owner = torch.repeat_interleave(torch.arange(len(counts)), stream.lengths)  # (sum of t,)
    window = starts[owner] + windows(torch.arange(len(owner)) - stream.starts[owner])
    sums = torch.zeros(int(counts.sum()), *stream.frame_shape)
    frames = stream.valid[: len(owner)].nonzero().squeeze(1)
    for chunk in torch.split(frames, CHUNK_FRAMES):
        sums.index_add_(0, window[chunk], stream.values[chunk].float())
    hits = torch.bincount(window[frames], minlength=len(sums))
    values = sums / hits.clamp(min=1).view(-1, *[1] * len(stream.frame_shape))
    return Stream.of(values.to(stream.values.dtype), hits > 0, torch.cat([starts, counts.sum()[None]]))


def frame_statistics(stream: Stream, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation ([layers,] width), float32, over the valid frames of the utterances `rows`.

    A dimension that never varies has deviation 1, and so has every dimension where there is no frame at all.
    """
    wanted = torch.zeros(len(stream.lengths), dtype=torch.bool).index_fill_(0, rows, True)
    owned = torch.repeat_interleave(wanted, stream.lengths)
    valid = stream.valid.clone()
    valid[: len(owned)] &= owned.to(valid.device)
    frames = valid.nonzero().squeeze(1)
    total = torch.zeros(stream.frame_shape, dtype=torch.float64, device=stream.values.device)
    squares = total.clone()
    for chunk in torch.split(frames, CHUNK_FRAMES):
        values = stream.values[chunk].double()
        total += values.sum(0)
        squares += values.square().sum(0)
    count = max(len(frames), 1)
    mean = total / count
    deviation = (squares / count - mean.square()).clamp(min=0).sqrt()
    # Below this a deviation is the rounding error of the difference above, not a property of the data.
    deviation = deviation.where(deviation > 1e-6 * (1 + mean.abs()), 1.0)
    return mean.float(), deviation.float()


def _gather(stream: Stream, rows: Tensor) -> Frames:
    starts, lengths = stream.starts[rows], stream.lengths[rows]
    time = torch.arange(max(int(lengths.max()), 1))
    inside = time < lengths[:, None]  # (b, t)
    index = torch.where(inside, starts[:, None] + time, 0).flatten().to(stream.values.device)
    values = stream.values.index_select(0, index).view(*inside.shape, *stream.frame_shape).float()
    valid = stream.valid.index_select(0, index).view(inside.shape) & inside.to(stream.valid.device)
    return Frames(values, valid)
