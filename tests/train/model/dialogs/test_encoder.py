"""Turns side by side, and which of them a turn reads."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from foal.train.model.dialogs.encoder import readable, real_turns, side_by_side

CPU = torch.device("cpu")


@given(counts=st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_real_turns_are_the_inverse_of_side_by_side(counts: list[int]) -> None:
    x = torch.randn(sum(counts), 2)
    rows = side_by_side(x, counts)
    real = real_turns(counts, CPU)
    assert torch.equal(rows[real], x)
    assert not rows[~real].any()


@given(
    counts=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    both=st.booleans(),
    window=st.one_of(st.none(), st.integers(1, 4)),
)
def test_a_turn_reads_the_turns_of_its_window(counts: list[int], both: bool, window: int | None) -> None:
    allowed = readable(counts, CPU, both=both, window=window)
    assert allowed.shape == (len(counts), max(counts), max(counts))
    for dialog, count in enumerate(counts):
        for reader in range(count):
            last = max(counts) if both else reader + 1
            near = [j for j in range(last) if j < count and (window is None or abs(reader - j) <= window)]
            assert allowed[dialog, reader].nonzero().flatten().tolist() == near
    if window is None:  # attention needs a key in every row
        assert allowed.any(-1).all()
