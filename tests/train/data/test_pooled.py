from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from foal.train.data.dataset import Dataset
from foal.train.data.pooled import pooled_features, standardized_features
from foal.train.data.sequences import PackedSequences
from foal.train.data.speakers import SpeakerStatistics, SpeakerTable

Make = Callable[..., Dataset]


def test_means_use_valid_frames_only(make_dataset: Make, make_stream: Callable[..., PackedSequences]) -> None:
    rng = torch.Generator().manual_seed(0)
    layered = [torch.randn(t, 2, 3, generator=rng).half() for t in (4, 1, 0, 5)]
    flat = [torch.randn(t, 2, generator=rng) for t in (2, 2, 2, 0)]
    flags = [torch.tensor(valid, dtype=torch.bool) for valid in ([True, False], [True, True], [False, False], [])]
    data = make_dataset(4, streams={"audio": make_stream(layered), "face": make_stream(flat, flags)})
    means = pooled_features(data)
    np.testing.assert_allclose(means["audio"][0], layered[0].float().mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(means["audio"][3], layered[3].float().mean((0, 1)), rtol=1e-5)
    assert np.isnan(means["audio"][2]).all()
    np.testing.assert_allclose(means["face"][0], flat[0][0])
    np.testing.assert_allclose(means["face"][1], flat[1].mean(0), rtol=1e-6)
    assert np.isnan(means["face"][2:]).all()


def test_deviations_use_valid_frames_only(make_dataset: Make, make_stream: Callable[..., PackedSequences]) -> None:
    frames = [torch.tensor([[1.0], [3.0], [9.0]]), torch.tensor([[2.0]])]
    flags = [torch.tensor([True, True, False]), torch.tensor([True])]
    data = make_dataset(2, c=2, streams={"audio": make_stream(frames, flags)})
    assert pooled_features(data, ("mean", "std"))["audio"].tolist() == [[2.0, 1.0], [2.0, 0.0]]


def test_speaker_statistics_replace_those_of_the_training_group_by_their_weight(
    make_dataset: Make, make_stream: Callable[..., PackedSequences]
) -> None:
    frames = [torch.tensor([[1.0], [3.0]]), torch.tensor([[10.0], [14.0]])]
    data = make_dataset(2, c=2, streams={"audio": make_stream(frames)})

    def speakers(*weights: float) -> SpeakerStatistics:
        means, variances = torch.tensor([[2.0], [12.0]]), torch.tensor([[1.0], [4.0]])
        table = SpeakerTable(means, variances, torch.tensor(weights))
        return SpeakerStatistics(
            rows=torch.tensor([0, 1]), utterances=torch.tensor([1, 1]), read=lambda: {"audio": table}
        )

    rows = torch.tensor([0])  # mean 2, deviation 1
    own = standardized_features(replace(data, speaker_statistics=speakers(1.0, 1.0)), rows, ("mean", "std"))["audio"]
    np.testing.assert_allclose(own, [[0, 1], [0, 1]])
    shrunk = standardized_features(replace(data, speaker_statistics=speakers(1.0, 0.0)), rows, ("mean", "std"))["audio"]
    np.testing.assert_allclose(shrunk, [[0, 1], [10, 2]])
