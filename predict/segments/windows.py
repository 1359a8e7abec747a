"""Sliding windows over the extracted frames of clips: nothing is decoded or encoded again."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...shared.errors import UsageError
from ...shared.timing import Seconds
from ...train.data.dataset import Dataset, longest_frames
from ...train.data.features import InMemory
from ...train.data.sequences import PackedSequences
from ...train.targets.columns import Targets

SHORTEST_REST: Seconds = 0.05
"""A clip that ends no later than this after its last window needs no further one."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A window: row of its clip, start and end in seconds of the clip; `whole` if the clip is not longer."""

    row: int
    start: Seconds
    end: Seconds
    whole: bool = False


def window_times(length: Seconds, window: Seconds, hop: Seconds) -> list[tuple[Seconds, Seconds]]:
    """Start and end of the windows over a clip, in seconds.

    The windows begin every `hop` seconds; the last one ends with the clip. A clip that is not longer than a window has
    one, as long as itself.
    """
    if length <= window:
        return [(0.0, length)]
    count = math.floor((length - window) / hop + 1e-9) + 1
    times = [(number * hop, number * hop + window) for number in range(count)]
    if length - times[-1][1] > SHORTEST_REST:
        times.append((length - window, length))
    return times


def windowed(
    data: Dataset,
    lengths: Mapping[int, Seconds],
    *,
    window: Seconds,
    hop: Seconds,
    max_seconds: float | None = None,
) -> tuple[Dataset, list[Window]]:
    """A dataset of windows; the values are shared with the clips.

    The edges of a window are rounded to frames of the dataset (a tenth of a second by default). Inputs without a rate,
    such as tokens, are those of the whole clip.

    Args:
        data: clips in memory.
        lengths: seconds of the clips to cut, by row.
        window: length of a window.
        hop: distance of the starts of windows.
        max_seconds: longest input of the model; longer windows are cut to it.

    Returns:
        The windows as a dataset, and what each of its rows is.

    Raises:
        UsageError: the model reads whole dialogs.
    """
    if data.dialogs or not isinstance(data.features, InMemory):
        raise UsageError("--window: the model reads whole dialogs, of which there are no windows; leave it out")
    streams = data.features.streams
    frames = {name: _whole_lengths(stream) for name, stream in streams.items()}
    windows = [
        Window(row=row, start=start, end=end, whole=len(times) == 1)
        for row, length in lengths.items()
        for times in [window_times(length, window, hop)]
        for start, end in times
    ]
    owner = torch.tensor([found.row for found in windows], dtype=torch.int64)
    longest = longest_frames(data.rates, max_seconds)
    cut = {
        name: _cut(stream, frames[name], windows, owner, data.rates[name], longest.get(name))
        for name, stream in streams.items()
    }
    statistics = data.speaker_statistics
    return (
        replace(
            data,
            utterances=tuple(
                replace(data.utterances[found.row], id=f"{data.utterances[found.row].id}#{number}")
                for number, found in enumerate(windows)
            ),
            labels=data.labels[owner],
            features=InMemory(cut),
            speaker_statistics=None if statistics is None else replace(statistics, rows=statistics.rows[owner]),
            targets=Targets(),
            warnings=(),
        ),
        windows,
    )


def empty_windows(data: Dataset) -> dict[str, Tensor]:
    """By input, whether each row of a dataset in memory has no valid frame, (n,)."""
    assert isinstance(data.features, InMemory)
    result = {}
    for name, stream in data.features.streams.items():
        before = torch.cat([torch.zeros(1, dtype=torch.int64), stream.valid.long().cumsum(0).cpu()])
        result[name] = before[stream.starts + stream.lengths] == before[stream.starts]
    return result


def _whole_lengths(stream: PackedSequences) -> Tensor:
    """Frames of each clip as they are stored, (n,): a model with a maximum length reads fewer."""
    ends = torch.cat([stream.starts[1:], torch.tensor([len(stream.values)])])
    # A stream without any frame has one unused row.
    return torch.where(stream.lengths > 0, ends - stream.starts, 0)


def _cut(
    stream: PackedSequences,
    lengths: Tensor,
    windows: Sequence[Window],
    owner: Tensor,
    rate: float,
    longest: int | None,
) -> PackedSequences:
    """The frames of one input in each window."""
    first, last = torch.zeros_like(owner), lengths[owner]
    if rate:
        edges = torch.tensor([(found.start, found.end) for found in windows], dtype=torch.float64).view(-1, 2)
        edges = (edges * rate).round().long()
        first, last = torch.minimum(edges[:, 0], last), torch.minimum(edges[:, 1], last)
    counts = last - first
    if longest is not None:
        counts = counts.clamp(max=longest)
    return replace(stream, starts=stream.starts[owner] + first, lengths=counts)
