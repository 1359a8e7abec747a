"""MMIM: the Gaussian log-likelihood and the contrastive prediction against closed forms."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from foal.train.model.architecture import Architecture
from foal.train.model.fusion.base import Fused, Supervision
from foal.train.model.fusion.registry import build_fusion
from foal.train.model.fusion.vectors.mmim import MmimFusion, log_likelihood
from foal.train.model.pooling import Projected

MakeStreams = Callable[..., dict[str, Projected]]
SUPERVISION = Supervision(None, torch.arange(6))
ALL = torch.ones(3, dtype=torch.bool)


@pytest.fixture
def make_mmim(make_architecture: Callable[..., Architecture]) -> Callable[..., MmimFusion]:
    def make(names: tuple[str, ...] = ("audio", "face"), **options: object) -> MmimFusion:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            head = build_fusion(make_architecture("mmim", names, **options))
        assert isinstance(head, MmimFusion)
        return head

    return make


def parameters(layer: nn.Module) -> dict[str, torch.Tensor]:
    return dict(layer.named_parameters())


@pytest.mark.parametrize(("log_variance", "limited"), [(1.5, 1.5), (-2.0, -2.0), (-50.0, -6.0), (50.0, 6.0)])
def test_a_perfect_mean_leaves_the_term_of_the_variance(log_variance: float, limited: float) -> None:
    y = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    value = log_likelihood(y, y, torch.full((3, 4), log_variance), ALL)
    assert value.item() == pytest.approx(-limited / 2)


def test_the_log_likelihood_is_that_of_the_normal_distribution() -> None:
    rng = torch.Generator().manual_seed(0)
    y, mean, log_variance = (torch.randn(3, 4, generator=rng) for _ in range(3))
    expected = torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(y).mean() + math.log(2 * math.pi) / 2
    torch.testing.assert_close(log_likelihood(y, mean, log_variance, ALL), expected)
    some = torch.tensor([True, False, True])
    torch.testing.assert_close(
        log_likelihood(y, mean, log_variance, some), log_likelihood(y[some], mean[some], log_variance[some], ALL[:2])
    )
    assert log_likelihood(y, mean, log_variance, ~ALL) == 0


def test_the_likelihood_is_not_maximized_by_an_infinite_variance() -> None:
    """Without -lv/2, as in public code, a larger variance is always better; with it the true one is the best."""
    y = 2 * torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
    counted = torch.ones(500, dtype=torch.bool)
    values = {v: log_likelihood(y, 0 * y, torch.full_like(y, math.log(v)), counted).item() for v in (1, 4, 16, 300)}
    assert max(values, key=lambda v: values[v]) == 4


def test_the_predicted_stream_gets_no_gradient_from_its_likelihood(
    make_mmim: Callable[..., MmimFusion], make_streams: MakeStreams
) -> None:
    head, streams = make_mmim(), make_streams()
    with torch.no_grad():
        parameters(head.densities[0])["weight"].zero_()  # the face is no longer predicted from the audio
    vectors = torch.randn(6, 2, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    fused = Fused(torch.zeros(6, 16), {"vectors": vectors})
    head.extra_losses(fused, streams, SUPERVISION)["mutual"].backward()
    assert vectors.grad is not None
    assert (vectors.grad[:, 0] == 0).all()  # audio is only predicted now
    assert (vectors.grad[:, 1] != 0).any()


def test_equal_predictions_cost_the_logarithm_of_the_batch(
    make_mmim: Callable[..., MmimFusion], make_streams: MakeStreams
) -> None:
    head, streams = make_mmim(contrastive=1.0), make_streams(missing=("face",))
    vectors = torch.randn(6, 2, 16, generator=torch.Generator().manual_seed(0))
    vectors[:] = vectors[0]
    fused = Fused(torch.ones(6, 16), {"vectors": vectors})
    loss = head.extra_losses(fused, streams, SUPERVISION)["contrastive"]
    # Six rows have audio, five a face.
    assert loss.item() == pytest.approx(math.log(6) + math.log(5), rel=1e-5)
    copies = Supervision(None, torch.tensor([0, 0, 0, 3, 0, 0]))  # copies leave one another row, or none for the face
    loss = head.extra_losses(fused, streams, copies)["contrastive"]
    assert loss.item() == pytest.approx((5 * math.log(2) + math.log(6)) / 6, rel=1e-5)


def test_the_temperature_makes_a_right_prediction_nearly_free(
    make_mmim: Callable[..., MmimFusion], make_streams: MakeStreams
) -> None:
    vectors = torch.eye(6, 16)
    losses = {}
    for temperature in (1.0, 0.1):
        head = make_mmim(contrastive=1.0, temperature=temperature)
        with torch.no_grad():
            for predict in map(parameters, head.predictors):
                predict["weight"].copy_(torch.eye(16))
                predict["bias"].zero_()
        fused = Fused(vectors, {"vectors": vectors[:, None].expand(-1, 2, -1)})
        losses[temperature] = head.extra_losses(fused, make_streams(), SUPERVISION)["contrastive"].item()
    for temperature, loss in losses.items():
        assert loss == pytest.approx(2 * math.log(1 + 5 * math.exp(-1 / temperature)), rel=1e-3)


def test_rows_without_a_modality_are_left_out_of_the_losses(
    make_mmim: Callable[..., MmimFusion], make_streams: MakeStreams
) -> None:
    head, streams = (
        make_mmim(("audio", "face", "text")).eval(),
        make_streams(("audio", "face", "text"), missing=("face",)),
    )
    fused = head(streams)
    losses = head.extra_losses(fused, streams, SUPERVISION)
    vectors = fused.parts["vectors"].clone()
    vectors[3, 1] = 9.0
    changed = head.extra_losses(Fused(fused.vector, {"vectors": vectors}), streams, SUPERVISION)
    for name in ("mutual", "contrastive"):
        torch.testing.assert_close(changed[name], losses[name])
    vectors[3, 0] = 9.0
    changed = head.extra_losses(Fused(fused.vector, {"vectors": vectors}), streams, SUPERVISION)
    assert changed["mutual"] != losses["mutual"]


def test_the_vector_is_bounded_and_has_the_width_of_the_network(
    make_mmim: Callable[..., MmimFusion], make_streams: MakeStreams
) -> None:
    head = make_mmim()
    assert head.width == 16
    assert head(make_streams()).vector.abs().max() < 1
    assert len(head.densities) == 2
    assert len(make_mmim(("audio", "face", "text")).densities) == 6
