import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from foal.shared.config.train_settings import TrainSettings
from foal.train.data.dataset import Dataset
from foal.train.fit.optimizer import Optimizer, lr_multiplier
from foal.train.model.foalnet import MAX_LOG_SCALE, FoalNet

CPU = torch.device("cpu")


def test_cosine_schedule_warms_up_and_decays_to_zero() -> None:
    settings = TrainSettings(epochs=11, warmup=1.0, schedule="cosine")
    assert 0 < lr_multiplier(settings, 0.0) < 0.02
    assert lr_multiplier(settings, 0.5) == pytest.approx(0.5, abs=0.02)
    assert lr_multiplier(settings, 1.0) == 1.0
    assert lr_multiplier(settings, 3.5) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert lr_multiplier(settings, 6.0) == pytest.approx(0.5)
    assert lr_multiplier(settings, 10.99) == pytest.approx(0, abs=1e-4)
    assert lr_multiplier(settings, 11.0) == lr_multiplier(settings, 12.0) == 0


def test_constant_schedule_warms_up_and_stays_constant() -> None:
    settings = TrainSettings(epochs=10, warmup=2.0, schedule="constant")
    assert [lr_multiplier(settings, epochs) for epochs in (2.0, 5.0, 9.99, 100.0)] == [1.0] * 4
    assert lr_multiplier(settings, 1.0) == pytest.approx(0.5, abs=0.01)
    paper = TrainSettings(preset="paper")
    assert [lr_multiplier(paper, epochs) for epochs in (0.0, 0.01, 39.9)] == [1.0] * 3


@given(st.integers(1, 50), st.floats(0, 60), st.sampled_from(["cosine", "constant"]))
def test_the_multiplier_rises_only_during_warm_up(epochs: int, warmup: float, schedule: str) -> None:
    settings = TrainSettings(epochs=epochs, warmup=warmup, schedule=schedule)  # type: ignore[arg-type]
    times = [epochs * i / 100 for i in range(101)]
    multipliers = [lr_multiplier(settings, time) for time in times]
    assert all(0 <= multiplier <= 1 for multiplier in multipliers)
    assert multipliers[0] > 0
    for (before, multiplier), (after, next_multiplier) in pairwise(zip(times, multipliers, strict=True)):
        assert next_multiplier >= multiplier if after < warmup else next_multiplier <= multiplier or before < warmup


@pytest.fixture
def model(make_dataset: Callable[..., Dataset], make_model: Callable[..., FoalNet]) -> FoalNet:
    return make_model(make_dataset())


def weights(model: FoalNet) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def gradient(model: FoalNet, settings: TrainSettings, size: float) -> Tensor:
    """The gradient of a step after clipping, for a loss whose gradient has norm `size`."""
    sums = [(parameter * torch.ones_like(parameter)).sum() for parameter in model.parameters()]
    total = torch.stack(sums).sum()
    count = sum(parameter.numel() for parameter in model.parameters())
    Optimizer(model, settings, CPU).step(total * (size / math.sqrt(count)), epochs=0.0)
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_gradients_are_clipped_to_the_maximum_norm(model: FoalNet) -> None:
    settings = TrainSettings(clip=0.5)
    clipped_gradient = gradient(model, settings, 80.0)
    assert clipped_gradient.norm().item() == pytest.approx(0.5, rel=1e-4)
    assert clipped_gradient.std().item() == pytest.approx(0, abs=1e-6)  # the direction is unchanged
    assert gradient(model, settings, 0.3).norm().item() == pytest.approx(0.3, rel=1e-4)
    assert gradient(model, TrainSettings(clip=None), 80.0).norm().item() == pytest.approx(80, rel=1e-4)


def test_step_sizes_follow_the_schedule(model: FoalNet) -> None:
    settings = TrainSettings(epochs=5, warmup=0.0, learning_rate=1e-3, weight_decay=0.0)
    for epochs, multiplier in ((0.0, 1.0), (2.5, 0.5), (5.0, 0.0)):
        before = weights(model)
        optimizer = Optimizer(model, settings, CPU)
        optimizer.step(sum(parameter.sum() for parameter in model.parameters()), epochs=epochs)  # type: ignore[arg-type]
        # Adam's first step changes every parameter by the learning rate.
        step_sizes = (before - weights(model)).abs()
        torch.testing.assert_close(step_sizes, torch.full_like(step_sizes, 1e-3 * multiplier), atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize(("decay", "smallest"), [("matrices", 2), ("all", 0)])
def test_weight_decay_applies_to_matrices_or_to_all_parameters(
    model: FoalNet, decay: Literal["matrices", "all"], smallest: int
) -> None:
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    settings = TrainSettings(learning_rate=0.1, weight_decay=0.5, warmup=0.0, decay=decay)
    optimizer = Optimizer(model, settings, CPU)
    optimizer.step(0.0 * sum(parameter.sum() for parameter in model.parameters()), epochs=0.0)  # type: ignore[arg-type]
    for name, parameter in model.named_parameters():
        expected = before[name] * (0.95 if parameter.dim() >= smallest else 1.0)
        torch.testing.assert_close(parameter.detach(), expected)


def test_a_step_clamps_the_logit_scale(model: FoalNet) -> None:
    assert model.alignment is not None
    optimizer = Optimizer(model, TrainSettings(learning_rate=1.0, warmup=0.0), CPU)
    for _ in range(4):
        optimizer.step(-model.alignment.log_scale, epochs=0.0)
    assert model.alignment.log_scale.item() == pytest.approx(MAX_LOG_SCALE)
    model.alignment.cosine_over_temperature = True  # a divisor, which the reference code does not limit
    for _ in range(4):
        optimizer.step(-model.alignment.log_scale, epochs=0.0)
    assert model.alignment.log_scale.item() > MAX_LOG_SCALE + 1
