"""Networks over any set of inputs: cross-attention, losses and missing modalities with three of them."""

from collections.abc import Callable
from itertools import combinations

import pytest
import torch

from foal.train.data.dataset import Dataset
from foal.train.data.sequences import Batch, Frames, PackedSequences
from foal.train.model.foalnet import FoalNet
from foal.train.model.losses import avel_loss
from foal.train.model.objective import LossConfig, Losses, objective

Make = Callable[..., Dataset]
MakeModel = Callable[..., FoalNet]
MakeStream = Callable[..., PackedSequences]
BatchOf = Callable[[Dataset, torch.Tensor], Batch]

WIDTHS = {"audio": 5, "face": 4, "text": 3}
TERMS = LossConfig(avel=1.0, mem=1.0)


@pytest.fixture
def data(make_dataset: Make, make_stream: MakeStream) -> Dataset:
    """24 utterances of three classes with audio, face and text; the first six have no face, the last two no text."""
    rng = torch.Generator().manual_seed(1)
    streams = {}
    for name, width in WIDTHS.items():
        lengths = torch.randint(1, 7, (24,), generator=rng).tolist()
        missing = {"face": range(6), "text": range(22, 24)}.get(name, range(0))
        flags = [torch.full((t,), row not in missing) for row, t in enumerate(lengths)]
        streams[name] = make_stream([torch.randn(t, width, generator=rng) for t in lengths], flags)
    return make_dataset(24, streams=streams)


def losses_of(model: FoalNet, batch: Batch, seed: int = 0) -> Losses:
    return objective(model, batch, TERMS, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("names", [["audio", "text"], ["face", "text"], ["audio", "face", "text"]], ids="+".join)
def test_every_parameter_gets_a_finite_gradient(
    data: Dataset, make_model: MakeModel, batch_of: BatchOf, names: list[str], layers: int
) -> None:
    chosen = data.select(names)
    model = make_model(chosen, layers=layers, skip=True, pool=("mean", "std"))
    losses_of(model, batch_of(chosen, torch.arange(24))).total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        # The audio of no utterance is missing.
        assert parameter.grad.abs().sum() > 0 or name == "projections.audio.placeholder", name


def test_an_input_reads_every_other_one_and_averages_the_results(
    data: Dataset, make_model: MakeModel, batch_of: BatchOf
) -> None:
    model = make_model(data)
    batch = batch_of(data, torch.arange(24))
    with torch.no_grad():
        projected = model.project(batch.frames)
        fused = model.fuse(projected)
        rows = torch.arange(24)
        for name in WIDTHS:
            others = [other for other in WIDTHS if other != name]
            sequences = []
            for other in others:
                x = projected[name].values
                for layer in model.stacks[name][other]:  # type: ignore[index, union-attr]
                    x = layer(x, projected[other].values, projected[other].valid, rows)
                sequences.append(x)
                expected = model.pools[name](x, projected[name].valid)
                torch.testing.assert_close(fused.pairs[name, other][0], expected)
            mean = (sequences[0] + sequences[1]) / 2
            torch.testing.assert_close(fused.own[name], model.pools[name](mean, projected[name].valid))


def test_alignment_is_the_mean_over_pairs_and_matching_over_directions(
    data: Dataset, make_model: MakeModel, batch_of: BatchOf
) -> None:
    model = make_model(data)
    batch = batch_of(data, torch.arange(24))
    with torch.no_grad():
        projected = model.project(batch.frames)
        assert model.alignment is not None
        expected = [
            avel_loss(
                model.alignment(projected[a], projected[b]),
                batch.labels,
                projected[a].present & projected[b].present,
                rows=batch.rows,
            )
            for a, b in combinations(WIDTHS, 2)
        ]
        losses = losses_of(model, batch)
    assert losses.avel.item() == pytest.approx(float(torch.stack(expected).mean()), abs=1e-6)
    assert len(model.directions) == 6
    assert 0.3 < losses.mem.item() < 2.0


def test_frames_of_a_missing_modality_have_no_influence(
    data: Dataset, make_model: MakeModel, batch_of: BatchOf
) -> None:
    model = make_model(data, skip=True)
    batch = batch_of(data, torch.arange(24))
    values, valid, _ = batch.frames["text"]
    garbage = Frames(torch.where(valid[..., None], values, torch.nan), valid)
    with torch.no_grad():
        torch.testing.assert_close(model({**batch.frames, "text": garbage}), model(batch.frames))
        removed = model({**batch.frames, "text": Frames(values, torch.zeros_like(valid))})
    assert torch.isfinite(removed).all()
    assert not torch.allclose(removed, model(batch.frames))


def test_two_inputs_are_computed_alike_whatever_their_modalities(
    data: Dataset, make_dataset: Make, make_model: MakeModel, batch_of: BatchOf
) -> None:
    """The names decide nothing: audio and face under other names give the same losses."""
    streams = data.features.streams  # type: ignore[attr-defined]
    pair = make_dataset(24, streams={"audio": streams["audio"], "face": streams["face"]})
    renamed = make_dataset(24, streams={"face": streams["audio"], "text": streams["face"]})
    first, second = (losses_of(make_model(part), batch_of(part, torch.arange(24))) for part in (pair, renamed))
    assert [a.item() for a in first] == [b.item() for b in second]


def test_permuting_the_batch_permutes_the_logits(data: Dataset, make_model: MakeModel, batch_of: BatchOf) -> None:
    model = make_model(data)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, shuffled = (model(batch_of(data, rows).frames) for rows in (torch.arange(24), order))
    torch.testing.assert_close(shuffled, logits[order], atol=1e-5, rtol=1e-5)
