from collections.abc import Callable
from itertools import combinations

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor, nn

from foal.shared.errors import TrainingError
from foal.train.data.dataset import Dataset
from foal.train.data.sequences import Batch, Frames, PackedSequences
from foal.train.model.architecture import Architecture
from foal.train.model.foalnet import FoalNet, build_model
from foal.train.model.fusion.sequences.cross_attention import CrossAttentionFusion
from foal.train.model.losses import avel_loss
from foal.train.model.objective import LossConfig, Losses, objective
from foal.train.model.pooling import masked_mean

Make = Callable[..., Dataset]
MakeModel = Callable[..., FoalNet]
DIRECTIONS = (("audio", "face"), ("face", "audio"))
BatchOf = Callable[[Dataset, Tensor], Batch]


def cross_attention(model: FoalNet) -> CrossAttentionFusion:
    assert isinstance(model.head, CrossAttentionFusion)
    return model.head


def padded(frames: Frames, count: int, garbage: float) -> Frames:
    values, valid, _ = frames
    padding = torch.full((len(values), count, *values.shape[2:]), garbage)
    return Frames(torch.cat([values, padding], 1), torch.cat([valid, valid.new_zeros(len(valid), count)], 1))


def test_normal_initialization_has_a_deviation_of_002_and_zero_biases(
    make_dataset: Make, make_model: MakeModel
) -> None:
    model = make_model(make_dataset(), initialization="normal", skip=True, width=64)
    assert model.skip is not None
    linear = [module for module in model.modules() if isinstance(module, nn.Linear) and module is not model.skip.linear]
    weights = torch.cat([module.weight.flatten() for module in linear])
    assert weights.std().item() == pytest.approx(0.02, rel=0.05)
    assert weights.mean().item() == pytest.approx(0, abs=1e-3)
    assert all((module.bias == 0).all() for module in linear if module.bias is not None)
    assert (model.skip.linear.weight == 0).all()


@pytest.mark.parametrize("garbage", [0.0, 6e4, float("nan")])
def test_padding_does_not_change_the_logits(
    make_dataset: Make, make_model: MakeModel, garbage: float, batch_of: BatchOf
) -> None:
    data = make_dataset()
    model = make_model(data)
    frames = batch_of(data, torch.arange(24)).frames
    with torch.no_grad():
        expected = model(frames)
        actual = model({name: padded(stream, 7, garbage) for name, stream in frames.items()})
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_logits_of_a_batch_equal_those_of_single_utterances(
    make_dataset: Make, make_model: MakeModel, batch_of: BatchOf
) -> None:
    data = make_dataset()
    model = make_model(data)
    with torch.no_grad():
        batched = model(batch_of(data, torch.arange(24)).frames)
        single = torch.cat([model(batch_of(data, torch.tensor([row])).frames) for row in range(24)])
    torch.testing.assert_close(batched, single, atol=1e-5, rtol=1e-5)


def test_invalid_frames_do_not_change_the_logits(make_dataset: Make, make_model: MakeModel, batch_of: BatchOf) -> None:
    data = make_dataset()
    model = make_model(data)
    frames = dict(batch_of(data, torch.arange(24)).frames)
    values, valid, _ = frames["face"]
    assert not valid.all()
    with torch.no_grad():
        expected = model(frames)
        actual = model({**frames, "face": Frames(torch.where(valid[..., None], values, 5e4), valid)})
    assert torch.equal(actual, expected)


def test_without_a_valid_face_the_face_values_have_no_effect(
    make_dataset: Make, make_model: MakeModel, batch_of: BatchOf
) -> None:
    data = make_dataset()
    model = make_model(data)
    frames = dict(batch_of(data, torch.arange(24)).frames)
    values, valid, _ = frames["face"]
    no_valid_frame = torch.zeros_like(valid)
    with torch.no_grad():
        expected = model({**frames, "face": Frames(values, no_valid_frame)})
        actual = model({**frames, "face": Frames(values.flip(0), no_valid_frame)})
        assert not torch.allclose(expected, model(frames))
    assert torch.equal(expected, actual)
    assert torch.isfinite(expected).all()


def test_one_modality_attends_to_itself(make_dataset: Make, make_model: MakeModel, batch_of: BatchOf) -> None:
    both = make_dataset()
    data = both.select(["audio"])
    model = make_model(data)
    assert model.alignment is None
    assert model.matcher is None
    assert cross_attention(model).directions == (("audio", "audio"),)
    assert model(batch_of(data, torch.arange(5)).frames).shape == (5, 3)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(TrainingError, match="expected a width that 5 heads divide, got 16"):
        build_model(
            Architecture(
                frame_shapes={"audio": (3,)},
                classes=2,
                width=16,
                heads=5,
                layers=1,
                dropout=0.0,
                projection_dropout=0.0,
            )
        )


def test_wrong_shapes_are_refused(make_dataset: Make, make_model: MakeModel, batch_of: BatchOf) -> None:
    data = make_dataset()
    model = make_model(data)
    projected = model.project(batch_of(data, torch.arange(6)).frames)
    with pytest.raises(TypeCheckError):
        model.head.fuse_pairs(projected, dict.fromkeys(DIRECTIONS, torch.arange(6)))  # k is missing
    with pytest.raises(TypeCheckError):
        masked_mean(projected["audio"].values, projected["face"].valid[:5])


# Any set of inputs: three of them, or two of other modalities.

WIDTHS = {"audio": 5, "face": 4, "text": 3}
TERMS = LossConfig(avel=1.0, mem=1.0)


@pytest.fixture
def data(make_dataset: Make, make_stream: Callable[..., PackedSequences]) -> Dataset:
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
    assert len(cross_attention(model).directions) == 6
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
