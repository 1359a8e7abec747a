from collections.abc import Callable

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from foal.train.data.dataset import Dataset
from foal.train.data.features import InMemory
from foal.train.data.sequences import Batch, PackedSequences, frame_index, pad_batch, pool_frames, pooled_lengths

MakeStream = Callable[..., PackedSequences]
Make = Callable[..., Dataset]
BatchOf = Callable[[Dataset, Tensor], Batch]

RATES = st.sampled_from([(50.0, 10.0), (30.0, 10.0), (25.0, 10.0), (49.95, 7.0)])


def streams_of(data: Dataset) -> dict[str, PackedSequences]:
    assert isinstance(data.features, InMemory)
    return dict(data.features.streams)


def test_collate_pads_packed_sequences(make_dataset: Make, batch_of: BatchOf) -> None:
    data = make_dataset()
    rows = torch.tensor([5, 0, 5, 23])
    batch = batch_of(data, rows)
    assert torch.equal(batch.rows, rows)
    assert torch.equal(batch.labels, data.labels[rows])
    for name, stream in streams_of(data).items():
        values, valid, _ = batch.frames[name]
        assert values.shape[:2] == valid.shape == (4, int(stream.lengths[rows].max()))
        for position, row in enumerate(rows):
            start, length = int(stream.starts[row]), int(stream.lengths[row])
            assert torch.equal(values[position, :length], stream.values[start : start + length])
            assert torch.equal(valid[position, :length], stream.valid[start : start + length])
            assert not valid[position, length:].any()


def test_collate_pads_utterances_without_frames(make_dataset: Make, make_stream: MakeStream, batch_of: BatchOf) -> None:
    empty = make_stream([torch.zeros(0, 4), torch.ones(2, 4), torch.zeros(0, 4)])
    no_frames = make_stream([torch.zeros(0, 4)] * 3)
    data = make_dataset(3, streams={"audio": empty, "face": no_frames})
    batch = batch_of(data, torch.tensor([0, 2]))
    assert batch.frames["audio"].values.shape == batch.frames["face"].values.shape == (2, 1, 4)
    assert not batch.frames["audio"].valid.any()
    assert not batch.frames["face"].valid.any()


def test_a_device_without_a_number_is_the_current_one(make_stream: MakeStream) -> None:
    """As on a GPU, where features lie on `cuda:0` and the run computes on `cuda`."""
    stream = make_stream([torch.randn(3, 2), torch.randn(1, 2)])
    batches = [pad_batch(stream, torch.tensor([1, 0]), torch.device(name)) for name in ("cpu", "cpu:0")]
    assert torch.equal(batches[0].values, batches[1].values)
    assert torch.equal(batches[0].valid, batches[1].valid)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.data())
def test_frame_index_equals_a_loop_over_sequences(lengths: list[int], data: st.DataObject) -> None:
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    frames = int(offsets[-1])
    stream = PackedSequences.of(torch.zeros(frames, 1), torch.ones(frames, dtype=torch.bool), offsets)
    rows = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=8))
    expected = [int(offsets[row]) + frame for row in rows for frame in range(lengths[row])]
    assert frame_index(stream, torch.tensor(rows, dtype=torch.int64)).tolist() == expected


@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), RATES, st.integers(0, 100))
def test_pooled_frames_are_the_means_of_their_windows(
    lengths: list[int], rates: tuple[float, float], seed: int
) -> None:
    rate_hz, to_hz = rates
    rng = torch.Generator().manual_seed(seed)
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    values = torch.randn(int(offsets[-1]), 3, generator=rng)
    valid = torch.rand(len(values), generator=rng) < 0.5
    stream = PackedSequences.of(values, valid, offsets)
    pooled = pool_frames(stream, rate_hz=rate_hz, to_hz=to_hz)
    assert torch.equal(pooled.lengths, pooled_lengths(stream.lengths, rate_hz=rate_hz, to_hz=to_hz))
    for row, length in enumerate(lengths):
        windows: dict[int, list[int]] = {}
        for frame in range(length):
            windows.setdefault(int(frame * to_hz / rate_hz + 1e-9), []).append(int(offsets[row]) + frame)
        start = int(pooled.starts[row])
        assert int(pooled.lengths[row]) == len(windows)
        for position, frames in enumerate(windows.values()):
            valid_frames = [frame for frame in frames if valid[frame]]
            assert bool(pooled.valid[start + position]) == bool(valid_frames)
            if valid_frames:
                torch.testing.assert_close(pooled.values[start + position], values[valid_frames].mean(0))


def test_slow_streams_are_not_pooled(make_dataset: Make) -> None:
    stream = streams_of(make_dataset())["face"]
    assert pool_frames(stream, rate_hz=10, to_hz=10) is stream
    assert torch.equal(pooled_lengths(stream.lengths, rate_hz=10, to_hz=25), stream.lengths)


def test_pooled_frames_ignore_invalid_frames() -> None:
    values = torch.tensor([[1.0], [float("nan")], [3.0], [float("inf")]])
    stream = PackedSequences.of(values, torch.tensor([True, False, True, False]), torch.tensor([0, 3, 4]))
    pooled = pool_frames(stream, rate_hz=30, to_hz=10)
    assert pooled.values.tolist() == [[2.0], [0.0]]
    assert pooled.valid.tolist() == [True, False]
