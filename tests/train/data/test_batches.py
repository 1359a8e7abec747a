import threading
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from foal.train.data.batches import bucketed, class_balanced_sample, evaluation_batches, training_batches
from foal.train.data.dataset import Dataset
from foal.train.data.sequences import PackedSequences

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset_with_lengths(
    make_dataset: Callable[..., Dataset], make_stream: Callable[..., PackedSequences]
) -> Callable[..., Dataset]:
    """Build a dataset of four classes with sequences of the given lengths."""

    def make(lengths: Tensor) -> Dataset:
        frames = torch.zeros(int(lengths.sum()), 1).split(lengths.tolist())
        return make_dataset(len(lengths), c=4, streams={"audio": make_stream(frames)})

    return make


@pytest.fixture(scope="module")
def dataset_of_300(dataset_with_lengths: Callable[..., Dataset]) -> Dataset:
    return dataset_with_lengths(torch.randint(1, 50, (300,), generator=torch.Generator().manual_seed(0)))


def test_draws_are_class_balanced() -> None:
    labels = torch.tensor([0] * 4500 + [1] * 450 + [2] * 50)
    drawn = class_balanced_sample(labels, torch.Generator().manual_seed(0))
    shares = torch.bincount(labels[drawn]) / len(labels)
    assert len(drawn) == 5000
    assert torch.allclose(shares, torch.full((3,), 1 / 3), atol=0.03)
    rare = torch.bincount(drawn, minlength=5000)[-50:]
    assert (rare > 0).all()  # within a class, all rows are equally likely


def test_a_class_without_utterances_is_never_drawn() -> None:
    labels = torch.tensor([0, 2, 2, 2])
    drawn = torch.cat([class_balanced_sample(labels, torch.Generator().manual_seed(seed)) for seed in range(500)])
    assert (drawn == 0).float().mean().item() == pytest.approx(1 / 2, abs=0.04)


@given(m=st.integers(1, 200), batch_size=st.integers(1, 16), seed=st.integers(0, 99))
def test_an_epoch_draws_as_many_rows_as_there_are_utterances(
    dataset_of_300: Dataset, m: int, batch_size: int, seed: int
) -> None:
    rng = torch.Generator().manual_seed(seed)
    rows = torch.randperm(300, generator=rng)[:m]
    batches = list(training_batches(dataset_of_300, rows, batch_size=batch_size, generator=rng, device=CPU))
    drawn = torch.cat([batch.rows for batch in batches])
    assert len(drawn) == m
    assert set(drawn.tolist()) <= set(rows.tolist())
    assert max(len(batch.rows) for batch in batches) <= batch_size
    assert all(torch.equal(batch.labels, batch.rows % 4) for batch in batches)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=120), st.integers(1, 5), st.integers(0, 99))
def test_buckets_contain_every_position_once(lengths: list[int], batch_size: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    batches = bucketed(torch.tensor(lengths), torch.arange(len(lengths)), batch_size=batch_size, generator=rng)
    assert sorted(torch.cat(batches).tolist()) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // batch_size)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=200), st.integers(2, 8), st.integers(0, 99))
def test_copies_are_in_different_batches_where_there_are_enough(rows: list[int], batch_size: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([1 + row % 3 for row in rows])
    batches = bucketed(lengths, torch.tensor(rows), batch_size=batch_size, generator=rng)
    assert sorted(torch.cat(batches).tolist()) == list(range(len(rows)))
    assert max(map(len, batches)) <= batch_size
    copies = sum(len(batch) - len({rows[position] for position in batch.tolist()}) for batch in batches)
    unsorted = torch.split(lengths.argsort(stable=True), batch_size)
    before = sum(len(batch) - len({rows[position] for position in batch.tolist()}) for batch in unsorted)
    assert copies <= before
    if max(rows.count(row) for row in set(rows)) == 1:
        assert copies == 0


def test_few_copies_never_share_a_batch() -> None:
    rng = torch.Generator().manual_seed(0)
    rows = torch.arange(64).repeat_interleave(4)  # four copies of each, next to each other after sorting
    batches = bucketed(torch.ones(256, dtype=torch.int64), rows, batch_size=32, generator=rng)
    assert [len(rows[batch].unique()) for batch in batches] == [32] * 8


def test_batches_have_little_padding_and_a_random_order(dataset_with_lengths: Callable[..., Dataset]) -> None:
    rng = torch.Generator().manual_seed(0)
    data = dataset_with_lengths(torch.randint(10, 1000, (1600,), generator=rng))
    batches = training_batches(data, torch.arange(1600), batch_size=16, generator=rng, device=CPU)
    flags = [batch.frames["audio"].valid for batch in batches]
    padded, real = sum(valid.numel() for valid in flags), sum(int(valid.sum()) for valid in flags)
    assert padded < 1.15 * real  # 1.9 in unsorted batches
    longest = [valid.shape[1] for valid in flags]
    assert longest[:8] != sorted(longest[:8])


def test_the_same_seed_gives_the_same_batches(dataset_of_300: Dataset) -> None:
    def rows_of_batches(seed: int) -> list[list[int]]:
        rng = torch.Generator().manual_seed(seed)
        batches = training_batches(dataset_of_300, torch.arange(60), batch_size=7, generator=rng, device=CPU)
        return [batch.rows.tolist() for batch in batches]

    assert rows_of_batches(1) == rows_of_batches(1) != rows_of_batches(2)


def test_evaluation_batches_contain_every_row_once(dataset_with_lengths: Callable[..., Dataset]) -> None:
    data = dataset_with_lengths(torch.tensor([5, 1, 4, 2, 3, 9]))
    batches = evaluation_batches(data, torch.tensor([5, 0, 2, 1]), batch_size=3, device=CPU)
    assert [batch.rows.tolist() for batch in batches] == [[1, 2, 0], [5]]


def test_an_abandoned_epoch_ends_its_reading_threads(dataset_of_300: Dataset) -> None:
    rng = torch.Generator().manual_seed(0)
    for batch in training_batches(dataset_of_300, torch.arange(300), batch_size=4, generator=rng, device=CPU):
        assert len(batch.rows) == 4
        break
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("foal-prefetch")]


@given(st.integers(1, 120), st.integers(1, 40), st.integers(1, 3000), st.integers(0, 99))
def test_long_utterances_are_in_smaller_batches(m: int, batch_size: int, frames: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 400, (m,), generator=rng)
    batches = bucketed(lengths, torch.arange(m), batch_size=batch_size, frames=frames, generator=rng)
    assert sorted(torch.cat(batches).tolist()) == list(range(m))
    for batch in batches:
        assert len(batch) <= batch_size
        # Utterances are never cut: a single one may exceed the limit.
        assert len(batch) == 1 or len(batch) * int(lengths[batch].max()) <= frames
    uncut = bucketed(lengths, torch.arange(m), batch_size=batch_size, generator=torch.Generator().manual_seed(0))
    assert len(uncut) <= len(batches)
