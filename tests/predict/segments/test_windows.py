"""Windows over extracted frames."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foal.predict.segments.windows import empty_windows, window_times, windowed
from foal.shared.errors import UsageError
from foal.shared.utterance import Utterance
from foal.train.data.dataset import Dataset
from foal.train.data.features import InMemory
from foal.train.data.sequences import PackedSequences


def packed(lengths: list[int], width: int, valid: list[bool] | None = None) -> PackedSequences:
    frames = sum(lengths)
    values = torch.arange(frames * width, dtype=torch.float32).view(frames, width)
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    return PackedSequences.of(values, torch.tensor(valid) if valid else torch.ones(frames, dtype=torch.bool), offsets)


def dataset(**streams: PackedSequences) -> Dataset:
    count = len(next(iter(streams.values())).lengths)
    return Dataset(
        utterances=tuple(Utterance(id=f"u{n}", corpus="c") for n in range(count)),
        classes=("a", "b"),
        labels=torch.zeros(count, dtype=torch.int64),
        features=InMemory(streams),
        rates={name: {"audio": 10.0, "face": 5.0, "text": 0.0}[name] for name in streams},
        stream_names={name: name for name in streams},
        provenance={},
    )


def frames_of(data: Dataset, name: str, row: int) -> torch.Tensor:
    assert isinstance(data.features, InMemory)
    stream = data.features.streams[name]
    start = int(stream.starts[row])
    return stream.values[start : start + int(stream.lengths[row])]


@given(length=st.floats(0.05, 200), window=st.floats(0.1, 20), hop=st.floats(0.05, 10))
def test_windows_cover_the_clip_and_stay_inside(length: float, window: float, hop: float) -> None:
    times = window_times(length, window, hop)
    assert times[0][0] == 0
    assert length - 0.051 <= times[-1][1] <= length + 1e-6
    if length <= window:
        assert times == [(0.0, length)]
        return
    for start, end in times:
        assert end - start == pytest.approx(window)
    for (before, _), (start, _) in pairwise(times):
        assert 0 < start - before <= hop + 0.051 + 1e-6


def test_windows_are_cut_at_the_frames_of_each_input() -> None:
    data = dataset(audio=packed([40, 30], 2), face=packed([20, 15], 3), text=packed([4, 2], 2))
    cut, windows = windowed(data, {1: 3.0}, window=2.0, hop=0.5)
    assert [(w.row, w.start, w.end, w.whole) for w in windows] == [
        (1, 0.0, 2.0, False),
        (1, 0.5, 2.5, False),
        (1, 1.0, 3.0, False),
    ]
    whole = {name: frames_of(data, name, 1) for name in ("audio", "face", "text")}
    assert torch.equal(frames_of(cut, "audio", 1), whole["audio"][5:25])
    # Edges between frames are rounded; 2.5 frames are 2.
    assert torch.equal(frames_of(cut, "face", 2), whole["face"][5:15])
    assert torch.equal(frames_of(cut, "text", 0), whole["text"])
    assert len({utterance.id for utterance in cut.utterances}) == 3


def test_a_clip_that_is_not_longer_than_a_window_is_one_window() -> None:
    data = dataset(audio=packed([12], 2))
    cut, (only,) = windowed(data, {0: 1.2}, window=4.0, hop=1.0)
    assert only.whole
    assert torch.equal(frames_of(cut, "audio", 0), frames_of(data, "audio", 0))


def test_a_limit_of_the_model_cuts_clips_but_not_where_windows_begin() -> None:
    data = dataset(audio=packed([40, 30], 2)).select(["audio"], 1.0)
    cut, windows = windowed(data, {0: 4.0, 1: 3.0}, window=2.0, hop=2.0, max_seconds=1.0)
    assert [window.start for window in windows] == [0.0, 2.0, 0.0, 1.0]
    assert frames_of(cut, "audio", 1)[:, 0].tolist() == [2.0 * frame for frame in range(20, 30)]
    assert frames_of(cut, "audio", 3)[0, 0] == 2.0 * (40 + 10)


def test_windows_without_valid_frames_are_found() -> None:
    data = dataset(audio=packed([20], 1), face=packed([10], 1, [True] * 5 + [False] * 5))
    cut, _ = windowed(data, {0: 2.0}, window=1.0, hop=1.0)
    empty = empty_windows(cut)
    assert empty["audio"].tolist() == [False, False]
    assert empty["face"].tolist() == [False, True]


def test_an_input_that_no_clip_has_is_empty_everywhere() -> None:
    data = dataset(audio=packed([20], 1), face=packed([0], 3))
    cut, _ = windowed(data, {0: 2.0}, window=1.0, hop=1.0)
    assert empty_windows(cut)["face"].tolist() == [True, True]


def test_a_model_of_dialogs_has_no_windows() -> None:
    data = replace(dataset(audio=packed([20], 1)), dialogs=(torch.tensor([0]),))
    with pytest.raises(UsageError, match="whole dialogs"):
        windowed(data, {0: 2.0}, window=1.0, hop=1.0)
