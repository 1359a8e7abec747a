from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from foal.shared.config.train_settings import TrainSettings
from foal.train.data.dataset import Dataset
from foal.train.data.pooled import Part
from foal.train.data.protocol import build_cross_validation
from foal.train.data.sequences import PackedSequences
from foal.train.fit.baselines import FAMILIES, Baseline, fit_baseline

CPU = torch.device("cpu")
QUICK = TrainSettings(width=16, heads=2, layers=1, epochs=2, batch_size=8)
Make = Callable[..., Dataset]


@pytest.mark.parametrize("parts", [("mean",), ("mean", "std")])
@pytest.mark.parametrize("estimator", FAMILIES)
@pytest.mark.parametrize("refit", [False, True])
def test_a_baseline_learns_and_ignores_the_test_labels(
    make_dataset: Make,
    make_stream: Callable[..., PackedSequences],
    estimator: Any,
    parts: tuple[Part, ...],
    refit: bool,
) -> None:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    audio = [torch.randn(4, 3, generator=rng) + 2 * torch.eye(3)[label] for label in labels]
    no_frames = make_stream([torch.zeros(0, 2)] * 90)  # a modality without any frame
    data = make_dataset(90, streams={"audio": make_stream(audio), "face": no_frames})
    fold = build_cross_validation(data.utterances, "loso-nested", data.speakers).folds[0]
    baseline = Baseline(estimator=estimator, parts=parts)
    probabilities = fit_baseline(data, fold, baseline, refit=refit)
    assert probabilities.shape == (len(fold.test_rows), 3)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    assert (probabilities.argmax(1) == labels[fold.test_rows].numpy()).mean() > 0.85
    blinded = replace(data, labels=labels.index_fill(0, fold.test_rows, 0))
    np.testing.assert_array_equal(fit_baseline(blinded, fold, baseline, refit=refit), probabilities)


def test_a_refit_uses_the_development_group(make_dataset: Make, make_stream: Callable[..., PackedSequences]) -> None:
    data = make_dataset(60)
    fold = build_cross_validation(data.utterances, "loso-nested", data.speakers).folds[0]
    first, second = (fit_baseline(data, fold, Baseline(), refit=refit) for refit in (False, True))
    assert not np.allclose(first, second)
