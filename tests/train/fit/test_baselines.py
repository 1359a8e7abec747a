from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from foal.shared.config.train_settings import TrainSettings
from foal.train.data.dataset import Dataset
from foal.train.data.protocol import build_cross_validation
from foal.train.data.sequences import PackedSequences
from foal.train.fit.logistic_regression import mean_features, regress

CPU = torch.device("cpu")
QUICK = TrainSettings(width=16, heads=2, layers=1, epochs=2, batch_size=8)
Make = Callable[..., Dataset]


def test_mean_features_use_valid_frames_only(make_dataset: Make, make_stream: Callable[..., PackedSequences]) -> None:
    rng = torch.Generator().manual_seed(0)
    layered = [torch.randn(t, 2, 3, generator=rng).half() for t in (4, 1, 0, 5)]
    flat = [torch.randn(t, 2, generator=rng) for t in (2, 2, 2, 0)]
    flags = [torch.tensor(valid, dtype=torch.bool) for valid in ([True, False], [True, True], [False, False], [])]
    data = make_dataset(4, streams={"audio": make_stream(layered), "face": make_stream(flat, flags)})
    means = mean_features(data)
    np.testing.assert_allclose(means["audio"][0], layered[0].float().mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(means["audio"][3], layered[3].float().mean((0, 1)), rtol=1e-5)
    assert np.isnan(means["audio"][2]).all()
    np.testing.assert_allclose(means["face"][0], flat[0][0])
    np.testing.assert_allclose(means["face"][1], flat[1].mean(0), rtol=1e-6)
    assert np.isnan(means["face"][2:]).all()


def test_regression_learns_and_ignores_the_test_labels(
    make_dataset: Make, make_stream: Callable[..., PackedSequences]
) -> None:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    audio = [torch.randn(4, 3, generator=rng) + 2 * torch.eye(3)[label] for label in labels]
    no_frames = make_stream([torch.zeros(0, 2)] * 90)  # a modality without any frame
    data = make_dataset(90, streams={"audio": make_stream(audio), "face": no_frames})
    fold = build_cross_validation(data.utterances, "loso-nested", data.speakers).folds[0]
    probabilities = regress(data, fold)
    assert probabilities.shape == (len(fold.test_rows), 3)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    assert (probabilities.argmax(1) == labels[fold.test_rows].numpy()).mean() > 0.85
    blinded = replace(data, labels=labels.index_fill(0, fold.test_rows, 0))
    np.testing.assert_array_equal(regress(blinded, fold), probabilities)
