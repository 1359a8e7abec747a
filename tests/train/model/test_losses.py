import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from scipy.stats import chisquare
from torch import Tensor

from foal.train.model.losses import avel_loss, draw_negatives, draw_positives, mem_loss

ALL = torch.ones(64, dtype=torch.bool)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, int]:
    """Similarities (b, b), labels (b,), present (b,) and a seed."""
    b = draw(st.integers(1, 9))
    seed = draw(st.integers(0, 1000))
    scale = draw(st.sampled_from([1.0, 30.0, 100.0]))
    labels = torch.tensor(draw(st.lists(st.integers(0, 2), min_size=b, max_size=b)))
    present = torch.tensor(draw(st.lists(st.booleans(), min_size=b, max_size=b)))
    cosines = torch.rand(b, b, generator=generator(seed), dtype=torch.float64) * 2 - 1
    return scale * cosines, labels, present, seed


def slow_avel(similarities: Tensor, labels: list[int], present: list[bool], *, summed: bool = False) -> float:
    rows = [i for i, is_present in enumerate(present) if is_present]
    if not rows:
        return 0.0
    s = similarities.tolist()
    directions = []
    for value in (lambda i, j: s[i][j], lambda i, j: s[j][i]):
        per_row = []
        for i in rows:
            log_sum = math.log(sum(math.exp(value(i, j)) for j in rows))
            positives = [value(i, j) - log_sum for j in rows if labels[i] == labels[j]]
            per_row.append(-sum(positives) / (1 if summed else len(positives)))
        directions.append(sum(per_row) / len(per_row))
    return sum(directions) / 2


@given(batches(), st.booleans())
def test_avel_equals_a_loop_over_all_pairs(batch: tuple[Tensor, Tensor, Tensor, int], summed: bool) -> None:
    similarities, labels, present, _ = batch
    expected = slow_avel(similarities, labels.tolist(), present.tolist(), summed=summed)
    loss = avel_loss(similarities, labels, present, sum_positives=summed)
    assert loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_avel_positives_are_all_pairs_of_a_class() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    blocks = 20.0 * (labels[:, None] == labels)
    diagonal = 20.0 * torch.eye(4)
    # Aligned classes give the minimum, log 2: the choice between two positives. Aligned own pairs alone do not.
    assert avel_loss(blocks, labels, ALL[:4]).item() == pytest.approx(math.log(2), abs=1e-6)
    assert avel_loss(diagonal, labels, ALL[:4]).item() > 5


def test_avel_does_not_grow_with_the_batch_size() -> None:
    losses = []
    for b in (8, 64):
        labels = torch.arange(b) % 4
        losses.append(avel_loss(torch.zeros(b, b), labels, ALL[:b]).item() - math.log(b))
        summed = avel_loss(torch.zeros(b, b), labels, ALL[:b], sum_positives=True).item()
        assert summed == pytest.approx(b / 4 * math.log(b), rel=1e-5)  # the authors' loss grows: 4 for 8, 67 for 64
    assert losses == pytest.approx([0, 0], abs=1e-5)


def test_copies_of_an_utterance_are_neither_positives_nor_negatives_of_each_other() -> None:
    similarities = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    labels, rows = torch.tensor([0, 0, 1, 0]), torch.tensor([7, 7, 3, 5])
    loss = avel_loss(similarities, labels, ALL[:4], rows=rows)
    assert not torch.isclose(loss, avel_loss(similarities, labels, ALL[:4]))
    positives = (labels[:, None] == labels) & ((rows[:, None] != rows) | torch.eye(4, dtype=torch.bool))
    allowed = (rows[:, None] != rows) | torch.eye(4, dtype=torch.bool)
    sides = []
    for side in (similarities, similarities.T):
        log_p = side.masked_fill(~allowed, -1e30).log_softmax(1)
        sides.append(-((log_p * positives).sum(1) / positives.sum(1)).mean())
    torch.testing.assert_close(loss, (sides[0] + sides[1]) / 2)


def test_avel_of_an_empty_batch_is_zero_and_differentiable() -> None:
    similarities = torch.randn(3, 3, generator=generator(), requires_grad=True)
    loss = avel_loss(similarities, torch.tensor([0, 1, 0]), ~ALL[:3])
    loss.backward()
    assert loss.item() == 0
    assert similarities.grad is not None
    assert torch.equal(similarities.grad, torch.zeros(3, 3))


@given(batches())
@settings(max_examples=300)
def test_negatives_are_always_of_another_class(batch: tuple[Tensor, Tensor, Tensor, int]) -> None:
    similarities, labels, present, seed = batch
    drawn = draw_negatives(similarities, labels, present, generator(seed))
    for i in range(len(labels)):
        others = [j for j in range(len(labels)) if labels[j] != labels[i] and present[j]]
        assert bool(drawn.found[i]) == bool(present[i] and others)
        if drawn.found[i]:
            assert int(drawn.rows[i]) in others


@given(batches(), st.data())
def test_positives_are_other_utterances_of_the_class(
    batch: tuple[Tensor, Tensor, Tensor, int], data: st.DataObject
) -> None:
    _, labels, present, seed = batch
    b = len(labels)
    # Utterances may occur twice in the batch, as in sampling with replacement.
    utterances = labels * 10 + torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=b, max_size=b)))
    drawn = draw_positives(labels, utterances, present, generator(seed))
    for i in range(b):
        others = [j for j in range(b) if labels[j] == labels[i] and utterances[j] != utterances[i] and present[j]]
        assert bool(drawn.found[i]) == bool(present[i] and others)
        if drawn.found[i]:
            assert int(drawn.rows[i]) in others


@pytest.mark.parametrize("side", ["face", "audio"])
def test_negatives_follow_the_softmax_of_similarities(side: str) -> None:
    labels, present = torch.tensor([0, 1, 1, 0, 2, 2, 1]), torch.arange(7) != 2
    similarities = 2 * torch.randn(7, 7, generator=generator(3))
    if side == "audio":
        similarities = similarities.T
    rng, draws = generator(), 3000
    rows = torch.stack([draw_negatives(similarities, labels, present, rng).rows for _ in range(draws)])
    for anchor in (0, 1, 3, 6):
        others = [j for j in range(7) if labels[j] != labels[anchor] and j != 2]
        shares = np.array([math.exp(similarities[anchor, j]) for j in others])
        counts = torch.bincount(rows[:, anchor], minlength=7)
        assert counts[others].sum() == draws
        assert chisquare(counts[others].numpy(), draws * shares / shares.sum()).pvalue > 0.01


def test_positives_are_drawn_uniformly() -> None:
    labels, rng = torch.zeros(5, dtype=torch.long), generator()
    draws = torch.stack([draw_positives(labels, torch.arange(5), ALL[:5], rng).rows[0] for _ in range(2000)])
    shares = torch.bincount(draws, minlength=5) / 2000
    assert shares.tolist() == pytest.approx([0, 0.25, 0.25, 0.25, 0.25], abs=0.04)


def test_drawing_negatives_has_no_gradient() -> None:
    similarities = torch.randn(4, 4, generator=generator(), requires_grad=True)
    draw_negatives(similarities, torch.tensor([0, 1, 0, 1]), ALL[:4], generator())
    assert similarities.grad is None


@given(st.integers(0, 500), st.integers(1, 3), st.integers(1, 5))
def test_mem_loss_is_the_mean_over_counted_pairs(seed: int, k: int, b: int) -> None:
    rng = generator(seed)
    logits = torch.randn(k, b, 2, generator=rng, dtype=torch.float64)
    matches = torch.rand(k, b, generator=rng) < 0.5
    counted = torch.rand(k, b, generator=rng) < 0.7
    losses = []
    for i in range(k):
        for j in range(b):
            if counted[i, j]:
                exponentials = [math.exp(value) for value in logits[i, j].tolist()]
                losses.append(-math.log(exponentials[int(matches[i, j])] / sum(exponentials)))
    expected = sum(losses) / len(losses) if losses else 0.0
    assert mem_loss(logits, matches, counted).item() == pytest.approx(expected, abs=1e-12)


def test_wrong_shapes_are_refused() -> None:
    similarities, labels = torch.zeros(3, 3), torch.tensor([0, 1, 0])
    with pytest.raises(TypeCheckError, match="labels"):
        avel_loss(similarities, torch.tensor([0, 1, 0, 1]), ALL[:3])
    with pytest.raises(TypeCheckError, match="similarities"):
        avel_loss(torch.zeros(3, 4), labels, ALL[:3])
    with pytest.raises(TypeCheckError, match="present"):
        draw_negatives(similarities, labels, torch.ones(3), generator())
    with pytest.raises(TypeCheckError, match="counted"):
        mem_loss(torch.zeros(2, 3, 2), ALL[:6].view(2, 3), ALL[:6].view(3, 2))
