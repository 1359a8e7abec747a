"""Tests of the loss of ratings and of the scale of predictions."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foal.train.model.ratings import RatingScale, ccc_loss

RNG = torch.Generator().manual_seed(0)
NAN = float("nan")


def lin_ccc(x: np.ndarray, y: np.ndarray) -> float:
    return float(2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))


def test_the_loss_is_one_minus_the_ccc_of_the_rated_utterances() -> None:
    x, y = torch.randn(20, 2, generator=RNG), torch.randn(20, 2, generator=RNG) + 3
    y[:7, 1] = NAN
    expected = [lin_ccc(x[:, 0].numpy(), y[:, 0].numpy()), lin_ccc(x[7:, 1].numpy(), y[7:, 1].numpy())]
    assert ccc_loss(x, y).item() == pytest.approx(1 - np.mean(expected), abs=1e-6)


def test_predictions_of_utterances_without_a_rating_have_no_gradient() -> None:
    x, y = torch.randn(6, 1, generator=RNG, requires_grad=True), torch.randn(6, 1, generator=RNG)
    y[2] = NAN
    torch.autograd.backward(ccc_loss(x, y))
    assert x.grad is not None
    assert x.grad[2] == 0
    assert (x.grad[[0, 1, 3, 4, 5]] != 0).all()


@pytest.mark.parametrize("ratings", [[NAN, NAN, NAN], [3.3, NAN, NAN], [3.3, 3.3, 3.3], [NAN, 0.1, 0.1]])
def test_a_batch_without_different_ratings_contributes_zero_with_a_gradient(ratings: list[float]) -> None:
    x = torch.randn(3, 1, generator=RNG, requires_grad=True)
    loss = ccc_loss(x, torch.tensor(ratings)[:, None])
    torch.autograd.backward(loss)
    assert loss.item() == 0
    assert x.grad is not None
    assert (x.grad == 0).all()


def test_constant_predictions_have_a_finite_gradient() -> None:
    x = torch.ones(5, 1, requires_grad=True)
    loss = ccc_loss(x, torch.arange(5.0)[:, None])
    torch.autograd.backward(loss)
    assert loss.item() == pytest.approx(1)
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert (x.grad != 0).any()


@given(st.floats(0.5, 4), st.floats(-10, 10))
def test_the_loss_does_not_depend_on_the_scale_of_the_ratings(scale: float, shift: float) -> None:
    rng = torch.Generator().manual_seed(1)
    x, y = torch.randn(12, 1, generator=rng), torch.randn(12, 1, generator=rng)
    assert ccc_loss(scale * x + shift, scale * y + shift).item() == pytest.approx(ccc_loss(x, y).item(), abs=1e-4)


def test_outputs_have_the_scale_of_the_training_ratings() -> None:
    scale = RatingScale(2)
    scale.fit(torch.tensor([[1.0, NAN], [3.0, 2.0], [5.0, 6.0]]))
    outputs = torch.tensor([[0.5, -0.5, 0.0, 1.0]])
    expected = torch.tensor([[0.5, -0.5, 3.0, 6.0]])
    torch.testing.assert_close(scale(outputs), expected)
    torch.testing.assert_close(scale(outputs[:, 2:]), expected[:, 2:])
