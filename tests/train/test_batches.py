import torch
from hypothesis import given
from hypothesis import strategies as st

from foal.train.batches import balanced_draws, evaluation_batches, training_batches


def test_draws_are_class_balanced() -> None:
    labels = torch.tensor([0] * 4500 + [1] * 450 + [2] * 50)
    drawn = balanced_draws(labels, torch.Generator().manual_seed(0))
    shares = torch.bincount(labels[drawn]) / len(labels)
    assert len(drawn) == 5000
    assert torch.allclose(shares, torch.full((3,), 1 / 3), atol=0.03)
    rare = torch.bincount(drawn, minlength=5000)[-50:]
    assert (rare > 0).all()  # within a class everybody is alike likely


@given(st.integers(1, 200), st.integers(1, 16), st.integers(0, 99))
def test_an_epoch_has_as_many_draws_as_utterances(m: int, batch_size: int, seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    rows = torch.randperm(300, generator=chance)[:m]
    labels, lengths = torch.arange(300) % 4, torch.randint(1, 50, (300,), generator=chance)
    batches = training_batches(rows, labels, lengths, batch_size=batch_size, generator=chance)
    drawn = torch.cat(batches)
    assert len(drawn) == m
    assert set(drawn.tolist()) <= set(rows.tolist())
    assert max(map(len, batches)) <= batch_size


def test_batches_pad_little_and_come_in_random_order() -> None:
    chance = torch.Generator().manual_seed(0)
    lengths = torch.randint(10, 1000, (1600,), generator=chance)
    batches = training_batches(torch.arange(1600), torch.arange(1600) % 4, lengths, batch_size=16, generator=chance)
    padded = sum(int(lengths[batch].max()) * len(batch) for batch in batches)
    real = sum(int(lengths[batch].sum()) for batch in batches)
    assert padded < 1.15 * real  # in unsorted batches 1.9
    longest = [int(lengths[batch].max()) for batch in batches]
    assert longest[:8] != sorted(longest[:8])


def test_evaluation_sees_everybody_once() -> None:
    lengths = torch.tensor([5, 1, 4, 2, 3, 9])
    rows = torch.tensor([5, 0, 2, 1])
    batches = evaluation_batches(rows, lengths, batch_size=3)
    assert [batch.tolist() for batch in batches] == [[3, 2, 1], [0]]
