"""Batches of whole dialogs."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foal.tests.train.dialogs.dialog_corpus import dialog_dataset
from foal.train.data.dataset import NO_CLASS
from foal.train.data.features import InMemory
from foal.train.dialogs.batches import (
    DialogBatch,
    class_weights,
    dialog_evaluation_batches,
    dialog_training_batches,
    dialogs_of,
)

CPU = torch.device("cpu")
DATA = dialog_dataset()


def rows_of(session: str) -> torch.Tensor:
    return torch.tensor([row for row, turn in enumerate(DATA.utterances) if turn.session == session])


def epoch(rows: torch.Tensor, batch_size: int, seed: int = 0) -> list[DialogBatch]:
    rng = torch.Generator().manual_seed(seed)
    return list(dialog_training_batches(DATA, rows, batch_size=batch_size, generator=rng, device=CPU))


@given(batch_size=st.integers(2, 60), seed=st.integers(0, 5))
def test_an_epoch_contains_every_dialog_once_and_whole(batch_size: int, seed: int) -> None:
    rows = torch.cat([rows_of("session1"), rows_of("session3")])
    batches = epoch(rows, batch_size, seed)
    dialogs = [dialog for batch in batches for dialog in batch.rows.split(list(batch.turns))]
    assert sorted(dialog.tolist() for dialog in dialogs) == sorted(d.tolist() for d in dialogs_of(DATA, rows))
    for batch in batches:
        assert len(batch.turns) == 1 or len(batch.turns) * max(batch.turns) <= batch_size
        assert torch.equal(batch.labels, DATA.turn_labels[batch.rows])
        # Speakers of the corpus alternate, context turns included.
        assert batch.speakers.tolist() == [number % 2 for count in batch.turns for number in range(count)]
        assert batch.size == len(batch.scored) == int((batch.rows < len(DATA)).sum())
        for name, frames in batch.frames.items():
            assert isinstance(DATA.features, InMemory)
            assert torch.equal(frames.values[:, 0], DATA.features.streams[name].values[batch.rows])
    assert sum(batch.size for batch in batches) == len(rows)


def test_turns_are_in_order_and_context_is_between_them() -> None:
    turns = [*DATA.utterances, *DATA.context]
    for dialog in DATA.dialogs:
        assert [turns[row].turn for row in dialog] == list(range(len(dialog)))
        assert int(dialog[0]) >= len(DATA)


def test_dialogs_of_similar_length_are_in_one_batch_and_batches_are_shuffled() -> None:
    rows = torch.arange(len(DATA))
    first, again, other = (epoch(rows, 24, seed) for seed in (0, 0, 1))
    assert [batch.rows.tolist() for batch in first] == [batch.rows.tolist() for batch in again]
    assert [batch.rows.tolist() for batch in first] != [batch.rows.tolist() for batch in other]
    assert max(max(batch.turns) - min(batch.turns) for batch in first) <= 3


def test_rows_outside_of_the_part_keep_no_label() -> None:
    part = rows_of("session1")[::2]
    for batch in dialog_evaluation_batches(DATA, part, device=CPU):
        assert set(batch.rows[batch.scored].tolist()) <= set(part.tolist())
        rest = torch.ones(len(batch.rows), dtype=torch.bool).index_fill_(0, batch.scored, False)
        assert (batch.labels[rest] == NO_CLASS).all()
        assert (batch.weights[rest] == 0).all()


def test_classes_weigh_the_same() -> None:
    labels = torch.tensor([0, 0, 0, 2])
    weights = class_weights(labels, 3)
    assert weights[labels].sum() == pytest.approx(4)
    assert 3 * weights[0] == pytest.approx(float(weights[2]))


def test_weights_are_of_the_training_rows_only() -> None:
    rows = rows_of("session2")
    others = torch.full_like(DATA.labels, 0).index_copy_(0, rows, DATA.labels[rows])
    rng = torch.Generator().manual_seed(0)
    changed = replace(DATA, labels=others)
    batches = list(dialog_training_batches(changed, rows, batch_size=16, generator=rng, device=CPU))
    for batch, same in zip(epoch(rows, 16), batches, strict=True):
        assert torch.equal(batch.weights, same.weights)
        assert torch.equal(batch.labels, same.labels)
