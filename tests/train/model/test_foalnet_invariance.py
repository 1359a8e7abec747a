"""Results do not depend on padding, on the other rows of a batch, or on their order."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from foal.train.data.dataset import Dataset
from foal.train.data.features import InMemory
from foal.train.data.sequences import Batch
from foal.train.fit.predict import predict
from foal.train.model.foalnet import FoalNet
from foal.train.model.objective import LossConfig, Losses, objective

BatchOf = Callable[[Dataset, Tensor], Batch]
CPU = torch.device("cpu")
N = 24
VARIANTS = pytest.mark.parametrize("cosine_over_temperature", [False, True], ids=["ours", "authors"])


@pytest.fixture(scope="module")
def data(make_dataset: Callable[..., Dataset]) -> Dataset:
    """A dataset that includes utterances without a valid face or audio frame, and one without any valid frame."""
    dataset = make_dataset(N)
    assert isinstance(dataset.features, InMemory)
    for name, rows in (("face", (3, 4)), ("audio", (4, 9))):
        stream = dataset.features.streams[name]
        for row in rows:
            stream.valid[int(stream.starts[row]) : int(stream.starts[row] + stream.lengths[row])] = False
    return dataset


@pytest.fixture(scope="module")
def single_logits(data: Dataset, make_model: Callable[..., FoalNet], batch_of: BatchOf) -> Tensor:
    """The logits of every utterance, computed in a batch of one."""
    model = make_model(data)
    with torch.no_grad():
        return torch.cat([model(batch_of(data, torch.tensor([row])).frames) for row in range(N)])


@settings(max_examples=40)
@given(rows=st.lists(st.integers(0, N - 1), min_size=1, max_size=30))
@torch.no_grad()
def test_logits_do_not_depend_on_the_batch(
    data: Dataset, make_model: Callable[..., FoalNet], batch_of: BatchOf, single_logits: Tensor, rows: list[int]
) -> None:
    logits = make_model(data)(batch_of(data, torch.tensor(rows)).frames)
    torch.testing.assert_close(logits, single_logits[rows], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 24, 100])
def test_probabilities_do_not_depend_on_the_batch_size(
    data: Dataset, make_model: Callable[..., FoalNet], single_logits: Tensor, batch_size: int
) -> None:
    rows = torch.randperm(N, generator=torch.Generator().manual_seed(batch_size))
    probabilities = predict(make_model(data), data, rows, batch_size=batch_size, device=CPU)
    torch.testing.assert_close(probabilities, single_logits[rows].softmax(1), atol=1e-5, rtol=1e-5)


def losses_of(model: FoalNet, batch: Batch, *, compat: bool) -> Losses:
    terms = LossConfig(avel=1.0, mem=None, sum_positives=compat)
    return objective(model, batch, terms, torch.Generator().manual_seed(0))


@VARIANTS
@settings(max_examples=20)
@given(rows=st.permutations(range(N)))
@torch.no_grad()
def test_losses_do_not_depend_on_the_order(
    data: Dataset, make_model: Callable[..., FoalNet], batch_of: BatchOf, cosine_over_temperature: bool, rows: list[int]
) -> None:
    model = make_model(data, cosine_over_temperature=cosine_over_temperature)
    expected = losses_of(model, batch_of(data, torch.arange(N)), compat=cosine_over_temperature)
    losses = losses_of(model, batch_of(data, torch.tensor(rows)), compat=cosine_over_temperature)
    assert expected.avel > 0
    for actual, reference in zip(losses, expected, strict=True):
        torch.testing.assert_close(actual, reference, atol=1e-5, rtol=1e-5)


@VARIANTS
@torch.no_grad()
def test_losses_do_not_depend_on_the_padding(
    data: Dataset, make_model: Callable[..., FoalNet], batch_of: BatchOf, cosine_over_temperature: bool
) -> None:
    model = make_model(data, cosine_over_temperature=cosine_over_temperature)
    batch = batch_of(data, torch.arange(N))
    for count in (1, 50):
        frames = {
            name: type(stream)(
                torch.cat([stream.values, torch.full((N, count, stream.values.shape[2]), float("nan"))], 1),
                torch.cat([stream.valid, stream.valid.new_zeros(N, count)], 1),
            )
            for name, stream in batch.frames.items()
        }
        for mem_weight in (None, 0.1):  # the draws are the same, since padding does not affect the similarities
            terms = LossConfig(avel=1.0, mem=mem_weight)
            expected = objective(model, batch, terms, torch.Generator().manual_seed(0))
            padded = Batch(rows=batch.rows, labels=batch.labels, frames=frames)
            losses = objective(model, padded, terms, torch.Generator().manual_seed(0))
            for actual, reference in zip(losses, expected, strict=True):
                torch.testing.assert_close(actual, reference, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_class_loss_of_a_batch_is_the_mean_over_its_parts(
    data: Dataset, make_model: Callable[..., FoalNet], batch_of: BatchOf
) -> None:
    model = make_model(data)
    expected = losses_of(model, batch_of(data, torch.arange(N)), compat=False).classes
    order = data.features.lengths.argsort(stable=True)
    parts = [losses_of(model, batch_of(data, rows), compat=False).classes * len(rows) for rows in order.split(7)]
    torch.testing.assert_close(torch.stack(parts).sum() / N, expected, atol=1e-5, rtol=1e-5)
