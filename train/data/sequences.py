"""Packed sequences per modality, and padded batches cut from them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor


class SpeakerNorm(NamedTuple):
    """Statistics of the speaker of each row: mean and variance (b, [layers,] width), and their weight (b,) in [0, 1].

    The weight is that of the speaker against the training group.
    """

    mean: Tensor
    variance: Tensor
    weight: Tensor

    def shrunk(self, mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation (b, [layers,] width) between the speaker's and the training group's ([layers,] width)."""
        weight = self.weight.view(-1, *[1] * mean.dim())
        variance = weight * self.variance + (1 - weight) * deviation.square()
        # A feature that is constant for a speaker carries nothing; it is not scaled up to rounding errors.
        return weight * self.mean + (1 - weight) * mean, variance.sqrt().clamp(min=1e-3 * deviation)


class Frames(NamedTuple):
    """A batch of sequences: values (b, t, [layers,] width), valid (b, t) bool, and statistics of the speakers, if used.

    The values of invalid frames (no face detected, or padding) must not influence any result.
    """

    values: Tensor
    valid: Tensor
    speaker: SpeakerNorm | None = None


@dataclass(frozen=True, kw_only=True)
class PackedSequences:
    """Sequences of one modality, concatenated over utterances.

    Attributes:
        values: frames as stored, (sum of t, [layers,] width), at least one row.
        valid: (sum of t,) bool.
        starts: first row of each utterance, (n,) int64, on the CPU, where batches are planned.
        lengths: frames of each utterance, (n,) int64, on the CPU.
    """

    values: Tensor
    valid: Tensor
    starts: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, values: Tensor, valid: Tensor, offsets: Tensor) -> "PackedSequences":
        """Build from packed rows with offsets (n + 1); a stream without frames gets one unused row."""
        if len(values) == 0:
            values, valid = values.new_zeros(1, *values.shape[1:]), valid.new_zeros(1)
        return cls(values=values, valid=valid, starts=offsets[:-1], lengths=offsets.diff())

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one frame, ([layers,] width)."""
        return tuple(self.values.shape[1:])

    @property
    def nbytes(self) -> int:
        """Bytes of values and valid flags."""
        return self.values.nbytes + self.valid.nbytes

    def to_device(self, device: torch.device) -> "PackedSequences":
        """Copy values and flags to a device; starts and lengths stay on the CPU."""
        return replace(self, values=self.values.to(device), valid=self.valid.to(device))

    def pinned(self) -> "PackedSequences":
        """Copy values and flags to pinned memory, from which a GPU copies asynchronously."""
        return replace(self, values=self.values.pin_memory(), valid=self.valid.pin_memory())


@dataclass(frozen=True, kw_only=True)
class Batch:
    """b utterances: their rows in the dataset (b,), labels (b,), and padded frames by modality.

    `ratings` (b, k) and soft labels `shares` (b, c) are None unless they are targets.
    """

    rows: Tensor
    labels: Tensor
    frames: Mapping[str, Frames]
    ratings: Tensor | None = None
    shares: Tensor | None = None

    @property
    def size(self) -> int:
        """Number of utterances that are trained on or scored."""
        return len(self.rows)

    @property
    def scored(self) -> Tensor:
        """Positions of the utterances that are trained on or scored, (size,), on the CPU."""
        return torch.arange(len(self.rows))


def pad_batch(stream: PackedSequences, positions: Tensor, device: torch.device) -> Frames:
    """Pad some sequences to their longest, with one gather and no loop.

    Args:
        stream: packed sequences.
        positions: the sequences, (b,), on the CPU.
        device: device of the result.

    Returns:
        Values (b, t, [layers,] width) in float32, and valid (b, t).
    """
    starts, lengths = stream.starts[positions], stream.lengths[positions]
    time = torch.arange(max(int(lengths.max()), 1))
    inside = time < lengths[:, None]  # (b, t)
    index = torch.where(inside, starts[:, None] + time, 0).flatten()
    values = _pick(stream.values, index, device).view(*inside.shape, *stream.frame_shape).float()
    valid = _pick(stream.valid, index, device).view(inside.shape) & inside.to(device)
    return Frames(values, valid)


def frame_index(stream: PackedSequences, positions: Tensor) -> Tensor:
    """Row numbers of all frames of the sequences at `positions` (m,), concatenated: (sum of t,)."""
    lengths = stream.lengths[positions]
    before = stream.starts[positions] - (lengths.cumsum(0) - lengths)
    return torch.repeat_interleave(before, lengths) + torch.arange(int(lengths.sum()))


def _pick(source: Tensor, index: Tensor, device: torch.device) -> Tensor:
    picked = source.index_select(0, index.to(source.device))
    if picked.device.type == device.type:  # `cuda` is the current device, for example `cuda:0`
        return picked
    return picked.pin_memory().to(device, non_blocking=True)


def pooled_lengths(lengths: Tensor, *, rate_hz: float, to_hz: float) -> Tensor:
    """Frames per sequence after `pool_frames`: lengths (n,) -> (n,)."""
    if rate_hz <= to_hz:
        return lengths
    return torch.where(lengths > 0, _windows(lengths - 1, to_hz / rate_hz) + 1, 0)


def pool_frames(stream: PackedSequences, *, rate_hz: float, to_hz: float) -> PackedSequences:
    """Reduce the frame rate: average the valid frames in windows of 1 / to_hz seconds.

    Args:
        stream: packed sequences at `rate_hz` frames per second.
        rate_hz: frame rate of the stream.
        to_hz: maximum frame rate of the result; a stream that is not faster is returned unchanged.

    Returns:
        Packed sequences of the same dtype; a window is valid if one of its frames is.
    """
    if rate_hz <= to_hz:
        return stream
    counts = pooled_lengths(stream.lengths, rate_hz=rate_hz, to_hz=to_hz)  # (n,)
    starts = counts.cumsum(0) - counts
    owner = torch.repeat_interleave(torch.arange(len(counts)), stream.lengths)  # (sum of t,)
    window = starts[owner] + _windows(torch.arange(len(owner)) - stream.starts[owner], to_hz / rate_hz)
    sums = torch.zeros(int(counts.sum()), *stream.frame_shape)
    frames = stream.valid[: len(owner)].nonzero().squeeze(1)
    sums.index_add_(0, window[frames], stream.values[frames].float())
    hits = torch.bincount(window[frames], minlength=len(sums))
    values = sums.div_(hits.clamp(min=1).view(-1, *[1] * len(stream.frame_shape)))
    return PackedSequences.of(values.to(stream.values.dtype), hits > 0, torch.cat([starts, counts.sum()[None]]))


def _windows(frames: Tensor, ratio: float) -> Tensor:
    """The window of each frame."""
    return (frames.double() * ratio + 1e-9).long()  # 0.2 * 15 must not become window 2
