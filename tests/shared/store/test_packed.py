"""Grouping of utterances that are contiguous in a shard and in the request."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foal.shared.store.packed import contiguous_runs

# Two shards of four utterances with these lengths.
LENGTHS = np.array([2, 3, 0, 1])
STARTS = np.array([0, 2, 5, 5])


def runs_of(rows: list[int]) -> list[list[int]]:
    requested = np.array(rows, np.int64)
    runs = contiguous_runs(requested // 4, STARTS[requested % 4], LENGTHS[requested % 4])
    return [run.tolist() for run in runs]


@pytest.mark.parametrize(
    ("rows", "runs"),
    [
        ([], []),
        ([0, 1, 2, 3], [[0, 1, 2, 3]]),
        ([3, 4], [[0], [1]]),
        ([1, 0], [[1], [0]]),
        ([4, 5, 0, 1], [[2, 3], [0, 1]]),
    ],
)
def test_adjacent_utterances_are_read_together(rows: list[int], runs: list[list[int]]) -> None:
    assert runs_of(rows) == runs


@given(st.lists(st.integers(0, 7), max_size=20))
def test_every_requested_utterance_is_read_once(rows: list[int]) -> None:
    assert sorted(position for run in runs_of(rows) for position in run) == list(range(len(rows)))
