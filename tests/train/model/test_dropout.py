"""Dropout: the share of zeros, the scale of the rest, one mask per sequence, and no effect in eval mode."""

import pytest
import torch

from foal.train.model.dropout import Dropout, SequenceDropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_share_of_zeros_is_p_and_the_mean_stays(p: float) -> None:
    torch.manual_seed(0)
    dropped = Dropout(p)(torch.ones(1000, 200))
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / (1 - p)])
    assert float((dropped == 0).float().mean()) == pytest.approx(p, abs=0.005)
    assert float(dropped.mean()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("frames", [1, 7])
def test_a_sequence_loses_the_same_units_in_all_frames(frames: int) -> None:
    torch.manual_seed(0)
    dropped = SequenceDropout(0.5)(torch.ones(20, frames, 30))
    assert torch.equal(dropped, dropped[:, :1].expand(-1, frames, -1))
    assert len(dropped[:, 0].unique(dim=0)) == 20


@pytest.mark.parametrize("kind", [Dropout, SequenceDropout])
def test_nothing_is_dropped_in_eval_mode_or_with_p_0(kind: type[Dropout]) -> None:
    x = torch.rand(4, 3, 5)
    assert kind(0.5).eval()(x) is x
    assert kind(0.0)(x) is x


def test_half_precision_stays_half_precision() -> None:
    assert Dropout(0.5)(torch.ones(3, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_the_gradient_is_scaled_as_the_values_are() -> None:
    x = torch.ones(50, 40, requires_grad=True)
    y = Dropout(0.3)(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())
