"""M2FNet: its anchor, what a partner decides, and the triplet loss."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from foal.shared.config.fusion_settings import M2fnetSettings
from foal.shared.errors import TrainingError
from foal.train.model.architecture import Architecture
from foal.train.model.dialogs.encoder import Turns
from foal.train.model.dialogs.m2fnet import M2fnetEncoder, adaptive_margin, chosen_anchor, triplet_loss
from foal.train.model.fusion.base import Supervision

NAMES = ("audio", "face")


def encoder(context: str = "both", width: int = 8, **options: object) -> M2fnetEncoder:
    a = Architecture(
        frame_shapes=dict.fromkeys(NAMES, (4,)),
        classes=2,
        width=width,
        heads=4,
        layers=1,
        dropout=0.0,
        projection_dropout=0.0,
        fusion="m2fnet",
        context=context,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return M2fnetEncoder(a, M2fnetSettings(**options)).eval()  # type: ignore[arg-type]


def turns_of(counts: list[int]) -> Turns:
    every = torch.ones(sum(counts), dtype=torch.bool)
    return Turns(counts, torch.zeros(sum(counts), dtype=torch.long), dict.fromkeys(NAMES, every))


def vectors(count: int) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {name: torch.randn(count, 8, generator=rng) for name in NAMES}


@pytest.mark.parametrize(
    ("names", "anchor", "chosen"),
    [
        (["audio", "face", "text"], None, "text"),
        (["face", "audio/wavlm"], None, "audio/wavlm"),
        (["face", "face/other"], None, "face"),
        (["audio", "face"], "face", "face"),
    ],
)
def test_the_anchor_is_text_else_audio_else_the_first(names: list[str], anchor: str | None, chosen: str) -> None:
    assert chosen_anchor(names, anchor) == chosen


def test_an_unknown_anchor_and_a_width_that_is_not_divided_are_one_sentence() -> None:
    with pytest.raises(TrainingError, match=r"anchor: expected one of the streams audio, face, got 'text'"):
        encoder(anchor="text")
    with pytest.raises(TrainingError, match="expected a width that 4 heads divide, got 6"):
        encoder(width=6)


@torch.no_grad()
def test_a_partner_only_decides_which_turns_of_the_anchor_are_mixed() -> None:
    model, streams = encoder(), vectors(4)
    (fusion,) = model.fusion
    anchor, partner, other = (torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(s)) for s in range(3))
    allowed = torch.ones(1, 4, 4, dtype=torch.bool)
    assert not torch.allclose(fusion(anchor, [partner], allowed), fusion(anchor, [other], allowed))
    # All turns of the anchor are the same, or there is one turn only: then a partner decides nothing.
    same = anchor[:, :1].expand(1, 4, 8)
    torch.testing.assert_close(fusion(same, [partner], allowed), fusion(same, [other], allowed))
    alone = [fusion(anchor[:, :1], [keys[:, :1]], allowed[:, :1, :1]) for keys in (partner, other)]
    torch.testing.assert_close(alone[0], alone[1])
    # In the last concatenation the partner is read even in a dialog of one turn.
    changed = {**streams, "face": streams["face"] + 1}
    assert not torch.allclose(model(streams, turns_of([1] * 4)), model(changed, turns_of([1] * 4)))


@torch.no_grad()
def test_the_order_of_turns_counts_only_through_the_context() -> None:
    streams, order = vectors(5), torch.tensor([3, 0, 4, 1, 2])
    shuffled = {name: x[order] for name, x in streams.items()}
    both, past = encoder("both"), encoder("past")
    torch.testing.assert_close(both(shuffled, turns_of([5])), both(streams, turns_of([5]))[order])
    assert not torch.allclose(past(shuffled, turns_of([5])), past(streams, turns_of([5]))[order])


def test_the_margin_has_the_closed_form_and_no_gradient() -> None:
    ap, an = torch.tensor([0.0, 2.0, 1.0]), torch.tensor([2.0, 0.0, 1.0], requires_grad=True)
    margin = adaptive_margin(ap, an)
    expected = [math.exp(-4), 1.0, (math.exp(-3) + math.exp(-1)) / 2]
    torch.testing.assert_close(margin, torch.tensor(expected))
    assert not margin.requires_grad


def test_the_triplet_loss_of_three_rows_has_the_closed_form() -> None:
    rows, labels = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 0, 1])
    unit = F.normalize(rows, dim=1)
    ap, an, pn = ((unit[i] - unit[j]).norm()[None] for i, j in ((0, 1), (0, 2), (1, 2)))
    each = [ap - (an + pn) / 2 + adaptive_margin(ap, negative) for negative in (an, pn)]  # both are anchors
    torch.testing.assert_close(triplet_loss(rows, labels), torch.cat(each).relu().mean())
    assert triplet_loss(rows[:0], labels[:0]) == 0
    assert triplet_loss(rows, torch.tensor([0, 1, 2])) == 0  # no positive


def test_separated_classes_cost_nothing_and_the_loss_separates_them() -> None:
    """The loss of the public code ends with positives farther away than negatives."""
    labels = torch.arange(4).repeat_interleave(10)
    torch.testing.assert_close(triplet_loss(torch.eye(4)[labels], labels), torch.tensor(0.0), atol=1e-2, rtol=0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        points = torch.nn.Parameter(torch.randn(40, 8))
        optimizer = torch.optim.Adam([points], lr=0.05)
        for _ in range(150):
            optimizer.zero_grad()
            triplet_loss(points, labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    unit = F.normalize(points.detach(), dim=1)
    distances = torch.cdist(unit, unit).fill_diagonal_(9)
    same = labels[:, None] == labels
    assert (labels[distances.argmin(1)] == labels).all()
    assert distances[same & (distances < 9)].mean() + 0.3 < distances[~same].mean()


def test_the_triplet_loss_reads_labelled_turns_that_have_the_stream() -> None:
    model, streams = encoder(triplet=0.1), vectors(6)
    labels = torch.tensor([0, 0, 1, 1, -1, 0])
    present = torch.tensor([True, True, True, True, True, False])
    turns = turns_of([6])._replace(present=dict.fromkeys(NAMES, present))

    def loss(streams: dict[str, Tensor]) -> float:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            encoded = torch.zeros(6, 8)
            return model.extra_losses(encoded, streams, turns, Supervision(labels, torch.arange(6)))["triplet"].item()

    assert loss(streams) > 0
    garbage = {name: x.index_fill(0, torch.tensor([4, 5]), 1e3) for name, x in streams.items()}
    assert loss(garbage) == loss(streams)
    no_labels = Supervision(None, torch.arange(6))
    assert model.extra_losses(torch.zeros(6, 8), streams, turns, no_labels) == {}
    assert encoder().extra_losses(torch.zeros(6, 8), streams, turns, Supervision(labels, torch.arange(6))) == {}
