"""What is trained on: packed sequences per modality, the utterances they belong to, and batches cut from them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor


class Frames(NamedTuple):
    """A batch of sequences: values (b, t, [layers,] width) and valid (b, t) bool.

    What stands at an invalid frame (no face found, or padding) must not matter to anyone.
    """

    values: Tensor
    valid: Tensor


@dataclass(frozen=True, kw_only=True)
class PackedSequences:
    """One modality of some utterances, end to end.

    values (sum of t, [layers,] width) as stored, at least one row; valid (sum of t,) bool; starts and lengths (n,)
    int64, always on the CPU, where batches are planned.
    """

    values: Tensor
    valid: Tensor
    starts: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, values: Tensor, valid: Tensor, offsets: Tensor) -> "PackedSequences":
        """From packed rows with offsets (n + 1); a stream without any frame gets one that nobody owns."""
        if len(values) == 0:
            values, valid = values.new_zeros(1, *values.shape[1:]), valid.new_zeros(1)
        return cls(values=values, valid=valid, starts=offsets[:-1], lengths=offsets.diff())

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """([layers,] width)."""
        return tuple(self.values.shape[1:])

    @property
    def nbytes(self) -> int:
        """Bytes of values and flags."""
        return self.values.nbytes + self.valid.nbytes

    def moved(self, device: torch.device) -> "PackedSequences":
        """The same on a device; what batches are planned with stays on the CPU."""
        return replace(self, values=self.values.to(device), valid=self.valid.to(device))

    def pinned(self) -> "PackedSequences":
        """The same in memory that a GPU can read by itself."""
        return replace(self, values=self.values.pin_memory(), valid=self.valid.pin_memory())


@dataclass(frozen=True, kw_only=True)
class Batch:
    """b utterances: their rows in the dataset (b,), labels (b,), and padded frames per modality."""

    rows: Tensor
    labels: Tensor
    frames: Mapping[str, Frames]


def gather(stream: PackedSequences, positions: Tensor, device: torch.device) -> Frames:
    """Pad the sequences at `positions` (b,), on the CPU, to the longest: one gather, no loop over them."""
    starts, lengths = stream.starts[positions], stream.lengths[positions]
    time = torch.arange(max(int(lengths.max()), 1))
    inside = time < lengths[:, None]  # (b, t)
    index = torch.where(inside, starts[:, None] + time, 0).flatten()
    values = _pick(stream.values, index, device).view(*inside.shape, *stream.frame_shape).float()
    valid = _pick(stream.valid, index, device).view(inside.shape) & inside.to(device)
    return Frames(values, valid)


def frame_index(stream: PackedSequences, positions: Tensor) -> Tensor:
    """Where all frames of the sequences at `positions` (m,) are, one after the other: (sum of t,)."""
    lengths = stream.lengths[positions]
    before = stream.starts[positions] - (lengths.cumsum(0) - lengths)
    return torch.repeat_interleave(before, lengths) + torch.arange(int(lengths.sum()))


def _pick(source: Tensor, index: Tensor, device: torch.device) -> Tensor:
    picked = source.index_select(0, index.to(source.device))
    if picked.device == device:
        return picked
    return picked.pin_memory().to(device, non_blocking=True)


def pooled_lengths(lengths: Tensor, *, rate_hz: float, to_hz: float) -> Tensor:
    """Frames that `averaged` leaves of sequences of `lengths` (n,) frames."""
    if rate_hz <= to_hz:
        return lengths
    return torch.where(lengths > 0, _windows(lengths - 1, to_hz / rate_hz) + 1, 0)


def averaged(stream: PackedSequences, *, rate_hz: float, to_hz: float) -> PackedSequences:
    """The stream with at most `to_hz` frames per second: means over the valid frames of windows of 1 / to_hz seconds.

    Unchanged if it is no faster than that. A window is valid if one of its frames is.
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
    """The window that each frame falls into."""
    return (frames.double() * ratio + 1e-9).long()  # 0.2 * 15 must not become window 2
