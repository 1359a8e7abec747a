"""Pooling over time, and the paths from pooled input features to the class scores."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from foal.train.data.dataset import Dataset
from foal.train.data.pooled import pooled_features
from foal.train.data.sequences import Batch
from foal.train.fit.loop import fit_normalization
from foal.train.model.foalnet import FoalNet
from foal.train.model.pooling import PooledInputs, Pooling, masked_mean

Make = Callable[..., Dataset]
MakeModel = Callable[..., FoalNet]
BatchOf = Callable[[Dataset, Tensor], Batch]


def test_the_masked_mean_ignores_invalid_frames() -> None:
    values = torch.arange(12.0).view(2, 3, 2)
    valid = torch.tensor([[True, False, True], [False, False, False]])
    assert masked_mean(values, valid).tolist() == [[2.0, 3.0], [0.0, 0.0]]


def test_pooling_concatenates_its_parts_and_ignores_invalid_frames() -> None:
    pooling = Pooling(width=2, parts=("mean", "std", "attention"))
    assert pooling.width == 6
    assert pooling.score is not None
    values = torch.tensor([[[1.0, 0.0], [3.0, 4.0], [9.0, 9.0]], [[5.0, 6.0], [9.0, 9.0], [9.0, 9.0]]])
    valid = torch.tensor([[True, True, False], [False, False, False]])
    with torch.no_grad():
        pooling.score.weight.zero_()  # equal weights
        pooled = pooling(values, valid)
    torch.testing.assert_close(pooled[0], torch.tensor([2.0, 2.0, 1.0, 2.0, 2.0, 2.0]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(pooled[1], torch.tensor([0.0, 0.0, 0.00316, 0.00316, 0.0, 0.0]), atol=1e-4, rtol=1e-2)
    # A sequence with a single frame has a finite gradient.
    single = torch.ones(1, 1, 2, requires_grad=True)
    pooling(single, torch.ones(1, 1, dtype=torch.bool)).sum().backward()
    assert single.grad is not None
    assert single.grad.isfinite().all()


def test_pooled_inputs_are_standardized_with_the_statistics_of_the_given_rows(
    make_dataset: Make, make_model: MakeModel, batch_of: BatchOf
) -> None:
    data = make_dataset()
    model = make_model(data, skip=True, pool=("mean", "std"))
    rows = torch.arange(0, len(data), 2)
    fit_normalization(model, data, rows)
    assert model.skip is not None
    projected = model.project(batch_of(data, torch.arange(len(data))).frames)
    for name, table in pooled_features(data, ("mean", "std")).items():
        train = table[rows.numpy()]
        train = train[~np.isnan(train).any(1)]
        deviation = train.std(0)
        expected = (table - train.mean(0)) / np.where(deviation > 1e-3, deviation, 1.0)
        expected[np.isnan(table).any(1)] = 0.0  # the modality is missing
        with torch.no_grad():
            actual = model.skip.inputs[name](projected[name])
        np.testing.assert_allclose(actual, expected, atol=1e-2)  # the variance has a small constant


def test_a_constant_pooled_feature_is_zero() -> None:
    inputs = PooledInputs(width=2, parts=("mean", "std"), limit=None)
    inputs.set_normalization(torch.tensor([1.0, 2.0, 0.5, 0.003]), torch.tensor([2.0, 0.0, 0.25, 1e-6]))
    assert inputs.deviation.tolist() == [2.0, 1.0, 0.25, 1.0]


def test_the_linear_path_starts_without_effect_and_reads_both_modalities(
    make_dataset: Make, make_model: MakeModel, batch_of: BatchOf
) -> None:
    data = make_dataset()
    plain, model = make_model(data), make_model(data, skip=True)
    frames = batch_of(data, torch.arange(len(data))).frames
    assert model.skip is not None
    model.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        assert torch.equal(model(frames), plain(frames))
    model(frames).sum().backward()
    gradient = model.skip.linear.weight.grad
    assert gradient is not None
    assert (gradient.abs().sum(0) > 0).all()


def test_the_perceptron_models_products_of_features_and_is_off_by_default(
    make_dataset: Make, make_model: MakeModel, batch_of: BatchOf
) -> None:
    data = make_dataset()
    plain = make_model(data, skip=True)
    assert plain.skip is not None
    assert plain.skip.perceptron is None
    skip = make_model(data, skip=True, skip_hidden=16).skip
    assert skip is not None
    assert skip.perceptron is not None
    skip.eval()
    projected = plain.project(batch_of(data, torch.arange(len(data))).frames)
    pooled = torch.cat([pool(projected[name]) for name, pool in skip.inputs.items()], -1)
    torch.testing.assert_close(skip(projected), skip.linear(pooled) + skip.perceptron(pooled))
    skip(projected).square().sum().backward()
    assert all((p.grad is not None and p.grad.abs().sum() > 0) for p in skip.parameters())


@pytest.mark.parametrize("limit", [None, 3.0])
def test_outliers_are_limited_before_and_after_pooling(
    make_dataset: Make, make_model: MakeModel, batch_of: BatchOf, limit: float | None
) -> None:
    data = make_dataset()
    model = make_model(data, skip=True, input_limit=limit).eval()
    fit_normalization(model, data, torch.arange(len(data)))
    frames = batch_of(data, torch.arange(len(data))).frames
    far = {name: side._replace(values=side.values + 1e6) for name, side in frames.items()}
    assert model.skip is not None
    for name, side in model.project(far).items():
        pooled = model.skip.inputs[name](side)
        largest = max(float(side.inputs.abs().max()), float(pooled.abs().max()))
        assert largest == limit if limit else largest > 1e3
    typical = model.project(frames)["audio"].inputs
    assert (typical.abs() < 3).float().mean() > 0.9
