"""The losses of the paper and of the reference code (docs/network.md), compared with a loop over pairs."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from foal.shared.config.train_settings import TrainSettings
from foal.train.data.dataset import Dataset
from foal.train.data.sequences import Batch, Frames, PackedSequences
from foal.train.model.foalnet import FoalNet
from foal.train.model.fusion.sequences.cross_attention import DirectionMatcher
from foal.train.model.networks import architecture_for
from foal.train.model.objective import LossConfig, Losses, Pairs, draw_pairs, objective
from foal.train.model.pooling import Projected

Make = Callable[..., Dataset]
MakeModel = Callable[..., FoalNet]
BatchOf = Callable[[Dataset, Tensor], Batch]
Case = tuple[FoalNet, Batch, LossConfig, int]

OURS = LossConfig(avel=0.7, mem=0.3)
AUTHORS = LossConfig(avel=0.7, mem=0.3, sum_positives=True, own_pairs=True)


def unit(side: Projected) -> Tensor:
    """The mean over each sequence's valid frames, normalized to unit length."""
    means = torch.stack([frames[flags].mean(0) for frames, flags in zip(side.values, side.valid, strict=True)])
    return means / means.square().sum(1, keepdim=True).sqrt()


def similarities_of(model: FoalNet, batch: Batch, *, cosine_over_temperature: bool) -> Tensor:
    """S, from the projected frames."""
    projected = model.project(batch.frames)
    cosines = unit(projected["audio"]) @ unit(projected["face"]).T
    t = math.log(1 / 0.07)  # the initial value
    return cosines / t if cosine_over_temperature else math.exp(t) * cosines


def avel(s: Tensor, batch: Batch, *, summed: bool) -> Tensor:
    """The loss; copies of an utterance count only in the sum of the reference code."""
    labels, own = batch.labels, torch.eye(len(batch.rows), dtype=torch.bool)
    counted = ((batch.rows[:, None] != batch.rows) | own | summed).float()
    p = (labels[:, None] == labels).float() * counted
    both = []
    for side in (s, s.T):
        log_softmax = (side.exp() / (counted * side.exp()).sum(1, keepdim=True)).log()
        inner = (p * log_softmax).sum(1)
        both.append((inner if summed else inner / p.sum(1)).mean())
    return -(both[0] + both[1]) / 2


def fused(model: FoalNet, batch: Batch, audio: int, face: int) -> dict[str, Tensor]:
    """u_a and u_v for the audio of one row and the face of another, each (d,)."""
    frames = {
        name: Frames(batch.frames[name].values[row : row + 1], batch.frames[name].valid[row : row + 1])
        for name, row in (("audio", audio), ("face", face))
    }
    return {name: u[0] for name, u in model.head(model.project(frames)).parts.items()}


def cross_entropy(logits: Tensor, m: int) -> Tensor:
    return -(logits[m].exp() / logits.exp().sum()).log()


def mem(model: FoalNet, batch: Batch, pairs: Pairs) -> Tensor:
    """1/2 [CE(h_a(u_a), m) + CE(h_v(u_v), m)] over the counted pairs, given the partners drawn."""
    sides = []
    for name, partners in (("audio", pairs.first), ("face", pairs.second)):
        losses = []
        for k, m in enumerate((1, 0, 1)[: len(partners)]):
            for row in range(len(batch.labels)):
                if pairs.counted[k, row]:
                    other = int(partners[k, row])
                    u = fused(model, batch, *((row, other) if name == "audio" else (other, row)))[name]
                    assert isinstance(model.matcher, DirectionMatcher)
                    (head,) = model.matcher.heads[name].values()  # type: ignore[operator]
                    losses.append(cross_entropy(head(u), m))
        sides.append(torch.stack(losses).mean() if losses else torch.zeros(()))
    return (sides[0] + sides[1]) / 2


def pairs_drawn(model: FoalNet, batch: Batch, terms: LossConfig, seed: int) -> Pairs:
    """The pairs that `objective` draws with this seed."""
    projected = model.project(batch.frames)
    assert model.alignment is not None
    similarities = model.alignment(projected["audio"], projected["face"])
    rng = torch.Generator().manual_seed(seed)
    return draw_pairs(similarities, projected["audio"], projected["face"], batch, terms, rng)


def losses_of(case: Case) -> Losses:
    model, batch, terms, seed = case
    return objective(model, batch, terms, torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def case(
    make_dataset: Make, make_model: MakeModel, make_stream: Callable[..., PackedSequences], batch_of: BatchOf
) -> Callable[..., Case]:
    """Build a seeded network, and a batch of utterances that all have audio and face."""

    def make(b: int, c: int, seed: int, terms: LossConfig) -> Case:
        rng = torch.Generator().manual_seed(seed)
        streams = {}
        for name, width in (("audio", 5), ("face", 4)):
            frames = [torch.randn(int(t), width, generator=rng) for t in torch.randint(1, 7, (b,), generator=rng)]
            flags = [torch.rand(len(sequence), generator=rng) < 0.7 for sequence in frames]
            for valid in flags:
                valid[0] = True
            streams[name] = make_stream(frames, flags)
        labels = torch.randint(c, (b,), generator=rng).tolist()
        data = make_dataset(b, c=c, labels=labels, streams=streams)
        # Repeated rows, as in sampling with replacement.
        rows = torch.cat([torch.arange(b), torch.randint(b, (2,), generator=rng)])
        return (
            make_model(data, seed=seed, cosine_over_temperature=terms.sum_positives),
            batch_of(data, rows),
            terms,
            seed,
        )

    return make


@pytest.mark.parametrize("terms", [OURS, AUTHORS], ids=["ours", "authors"])
@settings(max_examples=12)
@given(b=st.integers(2, 7), c=st.integers(2, 4), seed=st.integers(0, 1000))
@torch.no_grad()
def test_losses_equal_the_formulas_of_the_paper_and_of_the_reference_code(
    case: Callable[..., Case], terms: LossConfig, b: int, c: int, seed: int
) -> None:
    example = case(b, c, seed, terms)
    model, batch, _, _ = example
    compat = terms.sum_positives
    s = similarities_of(model, batch, cosine_over_temperature=compat)
    pairs = pairs_drawn(model, batch, terms, seed)
    assert len(pairs.matches) == (2 if compat else 3)
    has_negatives = torch.tensor([bool((batch.labels != label).any()) for label in batch.labels])
    # With two or more classes, all B own pairs and all B negatives are counted.
    assert torch.equal(pairs.counted[:2], has_negatives.expand(2, -1))
    losses = losses_of(example)
    assert losses.avel.item() == pytest.approx(avel(s, batch, summed=compat).item(), rel=1e-5, abs=1e-5)
    assert losses.mem.item() == pytest.approx(mem(model, batch, pairs).item(), abs=1e-5)
    logits = torch.stack(
        [model.classifier(torch.cat(list(fused(model, batch, row, row).values()))) for row in range(len(batch.labels))]
    )
    classes = torch.stack([cross_entropy(row, int(label)) for row, label in zip(logits, batch.labels, strict=True)])
    assert losses.classes.item() == pytest.approx(classes.mean().item(), abs=1e-5)
    total = losses.classes + 0.7 * losses.avel + 0.3 * losses.mem
    assert losses.total.item() == pytest.approx(total.item(), abs=1e-5)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
@torch.no_grad()
def test_negatives_are_nearly_uniform_with_the_reference_temperature_and_hard_without(
    case: Callable[..., Case], seed: int
) -> None:
    shares = {}
    for name, terms in (("ours", OURS), ("authors", AUTHORS)):
        model, batch, _, _ = case(6, 3, seed, terms)
        assert model.alignment is not None
        projected = model.project(batch.frames)
        s = model.alignment(projected["audio"], projected["face"])
        torch.testing.assert_close(
            s, similarities_of(model, batch, cosine_over_temperature=name == "authors"), rtol=1e-5, atol=1e-5
        )
        shares[name] = s.softmax(1)
    # Cosines divided by 2.66 differ by at most 2 / 2.66.
    assert (shares["authors"].amax(1) / shares["authors"].amin(1)).max() <= math.exp(2 / math.log(1 / 0.07)) + 1e-4
    assert (shares["ours"].amax(1) >= shares["authors"].amax(1)).all()


@torch.no_grad()
def test_a_batch_of_one_class_has_negatives_only_with_compat_same_class(case: Callable[..., Case]) -> None:
    model, batch, _, _ = case(5, 1, 0, OURS)
    assert losses_of((model, batch, OURS, 0)).mem.item() == 0
    terms = LossConfig(avel=1.0, mem=0.1, own_pairs=True, same_class=True)
    pairs = pairs_drawn(model, batch, terms, 0)
    assert pairs.counted.all()
    assert pairs.matches.tolist() == [[True] * 7, [False] * 7]  # labelled "no match" although the class is the same
    losses = losses_of((model, batch, terms, 0))
    assert losses.mem.item() == pytest.approx(mem(model, batch, pairs).item(), abs=1e-5)
    assert losses.mem.item() > 0.1


@pytest.mark.parametrize("sign", [1, -1])
def test_the_gradient_of_the_temperature_equals_a_difference_quotient(case: Callable[..., Case], sign: int) -> None:
    """S = Z_a Z_v' / T for the reference code, exp(t) Z_a Z_v' for the paper."""
    model, batch, terms, seed = case(6, 3, 4, AUTHORS if sign < 0 else OURS)
    assert model.alignment is not None
    losses_of((model, batch, terms, seed)).avel.backward()
    t, step = math.log(1 / 0.07), 1e-2
    with torch.no_grad():
        cosines = similarities_of(model, batch, cosine_over_temperature=True).double() * t
        values = []
        for shifted in (t - step, t + step):
            s = cosines / shifted if sign < 0 else math.exp(shifted) * cosines
            values.append(avel(s, batch, summed=sign < 0).item())
    slope = (values[1] - values[0]) / (2 * step)
    assert model.alignment.log_scale.grad is not None
    assert model.alignment.log_scale.grad.item() == pytest.approx(slope, rel=1e-2)


def test_compat_settings_reach_network_and_losses(make_dataset: Make) -> None:
    data = make_dataset()
    plain, deviating = TrainSettings(), TrainSettings(compat="reference")  # type: ignore[arg-type]
    assert not architecture_for(data, plain).cosine_over_temperature
    assert architecture_for(data, deviating).cosine_over_temperature
    assert LossConfig.from_settings(plain) == LossConfig(avel=1.0, mem=0.1)
    assert LossConfig.from_settings(deviating) == LossConfig(avel=1.0, mem=0.1, sum_positives=True, own_pairs=True)
    assert LossConfig.from_settings(TrainSettings(compat=("same-class",), avel=False, mem=False)) == LossConfig(
        avel=None, mem=None, same_class=True
    )
    assert not architecture_for(data, TrainSettings(compat=("sum", "own-pairs"))).cosine_over_temperature
