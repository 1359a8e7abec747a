"""MISA: moments, correlations and reconstruction against closed forms, over the rows that have the modality."""

from collections.abc import Callable

import pytest
import torch

from foal.shared.errors import TrainingError
from foal.train.model.architecture import Architecture
from foal.train.model.fusion.base import Supervision
from foal.train.model.fusion.registry import build_fusion
from foal.train.model.fusion.vectors.misa import MisaFusion, correlation, moment_discrepancy
from foal.train.model.pooling import Projected

MakeStreams = Callable[..., dict[str, Projected]]
SUPERVISION = Supervision(None, torch.arange(6))


@pytest.fixture
def make_misa(make_architecture: Callable[..., Architecture]) -> Callable[..., MisaFusion]:
    def make(names: tuple[str, ...] = ("audio", "face"), **options: object) -> MisaFusion:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            head = build_fusion(make_architecture("misa", names, **options))
        assert isinstance(head, MisaFusion)
        return head

    return make


def test_equal_sets_have_no_moment_discrepancy_and_a_finite_gradient() -> None:
    x = torch.rand(5, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = x.detach().clone().requires_grad_()
    loss = moment_discrepancy(x, y, 5)
    assert loss.item() == 0
    loss.backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    # The order of the rows is of no account.
    assert moment_discrepancy(x, x.flip(0), 5).item() == pytest.approx(0, abs=1e-6)


def test_the_moment_discrepancy_of_two_points_is_known() -> None:
    # Means 0 and 3; deviations 1 and 2: second moments 1 and 4, third 0 and 0, fourth 1 and 16.
    x, y = torch.tensor([[-1.0], [1.0]]), torch.tensor([[1.0], [5.0]])
    for moments, expected in ((1, 3.0), (2, 6.0), (3, 6.0), (4, 21.0)):
        assert moment_discrepancy(x, y, moments).item() == pytest.approx(expected)
    # In two dimensions each moment is one distance: 3 sqrt(2) + 3 sqrt(2).
    assert moment_discrepancy(x.repeat(1, 2), y.repeat(1, 2), 2).item() == pytest.approx(6 * 2**0.5)


def test_orthogonal_column_spaces_are_not_correlated() -> None:
    first, second = torch.tensor([1.0, -1.0, 1.0, -1.0]), torch.tensor([1.0, 1.0, -1.0, -1.0])
    x, y = torch.outer(first, torch.tensor([1.0, 2.0, 3.0])), torch.outer(second, torch.tensor([4.0, -1.0, 2.0]))
    assert correlation(x + 5, y - 2).item() == pytest.approx(0, abs=1e-12)
    # The same direction in all rows: X'X has one entry of n = 4, so the mean square is 16 / 9 for unit axes.
    axis = torch.outer(first, torch.tensor([1.0, 0.0, 0.0]))
    assert correlation(axis, 3 * axis + 1).item() == pytest.approx(16 / 9, rel=1e-5)


def test_copies_of_one_row_have_a_finite_gradient() -> None:
    x = torch.full((3, 4), 0.3).requires_grad_()
    y = torch.rand(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (correlation(x, y) + moment_discrepancy(x, y, 5)).backward()
    for side in (x, y):
        assert side.grad is not None
        assert side.grad.isfinite().all()
        assert side.grad.abs().max() < 1e4


@pytest.mark.parametrize("rows", [0, 1])
def test_less_than_two_rows_have_neither_moments_nor_correlations(rows: int) -> None:
    x = torch.rand(rows, 4).requires_grad_()
    y = torch.rand(rows, 4)
    loss = moment_discrepancy(x, y, 5) + correlation(x, y)
    assert loss.item() == 0
    loss.backward()
    assert x.grad is not None
    assert (x.grad == 0).all()


def test_rows_without_a_modality_are_left_out_of_the_losses(
    make_misa: Callable[..., MisaFusion], make_streams: MakeStreams
) -> None:
    head = make_misa().eval()
    streams = make_streams(missing=("face",))
    losses = head.extra_losses(head(streams), streams, SUPERVISION)
    streams["face"].values[3] = 9.0  # another placeholder
    changed = head.extra_losses(head(streams), streams, SUPERVISION)
    for name in ("similarity", "difference", "reconstruction"):
        torch.testing.assert_close(changed[name], losses[name])
        assert losses[name] > 0
    # The row's audio still counts.
    streams["audio"].values[3] = 9.0
    changed = head.extra_losses(head(streams), streams, SUPERVISION)
    assert changed["reconstruction"] != losses["reconstruction"]


def test_the_losses_have_the_published_form(make_misa: Callable[..., MisaFusion], make_streams: MakeStreams) -> None:
    names = ("audio", "face", "text")
    head = make_misa(names, similarity=2.0, difference=3.0, reconstruction=5.0, moments=3).eval()
    streams = make_streams(names)
    fused = head(streams)
    u = [
        layer(torch.stack([x[ok].mean(0) for x, ok in zip(side.values, side.valid, strict=True)]))
        for layer, side in zip(head.inputs, streams.values(), strict=True)
    ]
    s = [head.shared(x) for x in u]
    p = [layer(x) for layer, x in zip(head.private, u, strict=True)]
    pairs = [(0, 1), (0, 2), (1, 2)]
    rebuilt = [decode(a + b) for decode, a, b in zip(head.decoders, p, s, strict=True)]
    expected = {
        "similarity": 2 / 3 * sum(moment_discrepancy(s[i], s[j], 3) for i, j in pairs),
        "difference": 3 * sum(correlation(p[i], s[i]) for i in range(3))
        + 3 * sum(correlation(p[i], p[j]) for i, j in pairs),
        "reconstruction": 5 / 3 * sum((a - b).square().mean() for a, b in zip(rebuilt, u, strict=True)),
    }
    losses = head.extra_losses(fused, streams, SUPERVISION)
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], torch.as_tensor(value))


def test_the_losses_make_the_shared_spaces_alike(
    make_misa: Callable[..., MisaFusion], make_streams: MakeStreams
) -> None:
    head, streams = make_misa().train(), make_streams()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    history = []
    for _ in range(40):
        losses = head.extra_losses(head(streams), streams, SUPERVISION)
        history.append({name: loss.item() for name, loss in losses.items()})
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    for name in ("similarity", "reconstruction"):
        assert history[-1][name] < 0.5 * history[0][name]


def test_heads_that_do_not_divide_the_width_are_refused(make_misa: Callable[..., MisaFusion]) -> None:
    with pytest.raises(TrainingError, match="expected a width that 3 heads divide, got 16"):
        make_misa(heads=3)
