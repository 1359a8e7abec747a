"""Nothing of the test group reaches the training: neither its labels nor its features."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from foal.shared.config.train_settings import TrainSettings
from foal.shared.utterance import Utterance
from foal.tests.train.fit.small_fit import CPU, SMALL, first_fold
from foal.train.data.dataset import open_dataset
from foal.train.fit.baselines import Baseline, fit_baseline
from foal.train.fit.loop import train_fold
from foal.train.fit.predict import predict

FIRST = "session1"
"""The test group of the first fold."""

pytestmark = pytest.mark.parametrize("normalize", ["fold", "speaker"])


def fit(features: Path, normalize: str) -> tuple[dict[str, Tensor], list[NDArray[np.float32]]]:
    """Return the weights of the first fold's network, and its probabilities and those of a baseline."""
    changes = {"normalize": normalize, "epochs": 3, "select": "last", "refit": True}
    settings = TrainSettings.model_validate({**SMALL.model_dump(), **changes})
    with open_dataset(features, settings, classes=["hap", "sad"]) as data:
        fold = first_fold(data)
        assert fold.test == FIRST
        model = train_fold(data, fold, settings, seed=0, device=CPU).model
        probabilities = [
            predict(model, data, fold.test_rows, device=CPU).numpy(),
            fit_baseline(data, fold, Baseline(parts=("mean", "std")), refit=True),
        ]
        return model.state_dict(), probabilities


def same_weights(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, b[name]) for name, value in a.items())


def test_labels_of_the_test_group_change_nothing(
    tmp_path: Path, sample_utterances: Sequence[Utterance], make_index: Callable[..., Path], normalize: str
) -> None:
    weights, probabilities = fit(make_index(tmp_path, sample_utterances), normalize)
    other = {"hap": "sad", "sad": "hap"}
    poisoned = [replace(u, label=other[u.label]) if u.session == FIRST else u for u in sample_utterances]
    weights_after, probabilities_after = fit(make_index(tmp_path, poisoned, reuse_shards=True), normalize)
    assert same_weights(weights, weights_after)
    for before, after in zip(probabilities, probabilities_after, strict=True):
        np.testing.assert_array_equal(before, after)
    trained = [replace(u, label=other[u.label]) if u.session != FIRST else u for u in sample_utterances]
    assert not same_weights(weights, fit(make_index(tmp_path, trained, reuse_shards=True), normalize)[0])


def test_features_of_the_test_group_do_not_change_the_network(
    tmp_path: Path,
    sample_utterances: Sequence[Utterance],
    make_features: Callable[..., Path],
    make_index: Callable[..., Path],
    normalize: str,
) -> None:
    def fit_with(seed: int) -> tuple[dict[str, Tensor], list[NDArray[np.float32]]]:
        folder = tmp_path / str(seed)
        for number, session in enumerate(("session1", "session2", "session3")):
            rows = [u for u in sample_utterances if u.session == session]
            make_features(folder / "features", rows, seed=seed if session == FIRST else number)
        return fit(make_index(folder, sample_utterances, reuse_shards=True), normalize)

    (weights, probabilities), (weights_after, probabilities_after) = fit_with(10), fit_with(11)
    assert same_weights(weights, weights_after)
    assert not np.array_equal(probabilities[0], probabilities_after[0])
