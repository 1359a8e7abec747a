from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from foal.train.data import normalization as statistics
from foal.train.data.dataset import Dataset
from foal.train.data.features import InMemory
from foal.train.data.normalization import frame_statistics
from foal.train.data.sequences import PackedSequences

MakeStream = Callable[..., PackedSequences]


def statistics_of(stream: PackedSequences, rows: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    return frame_statistics(InMemory({"face": stream}), torch.tensor(rows))["face"]


@pytest.fixture
def face(make_dataset: Callable[..., Dataset]) -> PackedSequences:
    features = make_dataset().features
    assert isinstance(features, InMemory)
    return features.streams["face"]


def test_statistics_use_valid_frames_of_the_training_rows_only(face: PackedSequences) -> None:
    rows = [1, 4, 6]
    frames = np.concatenate(
        [
            face.values[s : s + n][face.valid[s : s + n]].numpy()
            for s, n in zip(face.starts[rows].tolist(), face.lengths[rows].tolist(), strict=True)
        ]
    )
    mean, deviation = statistics_of(face, rows)
    np.testing.assert_allclose(mean, frames.mean(0), rtol=1e-5)
    np.testing.assert_allclose(deviation, frames.std(0), rtol=1e-5)
    # Other utterances and invalid frames have no effect.
    others = torch.ones(len(face.values), dtype=torch.bool)
    for row in rows:
        start, length = int(face.starts[row]), int(face.lengths[row])
        others[start : start + length] = ~face.valid[start : start + length]
    changed = replace(face, values=torch.where(others[:, None], 1e4, face.values))
    assert torch.equal(statistics_of(changed, rows)[0], mean)


def test_a_constant_dimension_has_deviation_one(make_stream: MakeStream) -> None:
    stream = make_stream([torch.tensor([[0.1, 1.0], [0.1, 3.0]]).half(), torch.zeros(0, 2).half()])
    mean, deviation = statistics_of(stream, [0])
    assert mean.tolist() == pytest.approx([0.1, 2.0], abs=1e-4)
    assert deviation.tolist() == [1.0, 1.0]
    assert statistics_of(stream, [1])[1].tolist() == [1.0, 1.0]


def test_statistics_do_not_depend_on_the_chunk_size(face: PackedSequences, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = statistics_of(face, list(range(24)))
    monkeypatch.setattr(statistics, "CHUNK_BYTES", 100)
    for actual, reference in zip(statistics_of(face, list(range(24))), expected, strict=True):
        torch.testing.assert_close(actual, reference)


def test_half_precision_is_summed_in_double_precision(make_stream: MakeStream) -> None:
    # In float16 the sum of these values would be infinite; in float32 their deviation would be zero.
    frames = torch.full((2000, 1), 60000.0).half()
    frames[::2] -= 32  # the adjacent float16 number
    mean, deviation = statistics_of(make_stream([frames]), [0])
    assert mean.item() == pytest.approx(59984)
    assert deviation.item() == pytest.approx(16, rel=1e-6)


def test_every_encoder_layer_has_its_own_statistics(make_stream: MakeStream) -> None:
    frames = torch.randn(50, 3, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5, 9])[:, None]
    mean, deviation = statistics_of(make_stream([frames]), [0])
    torch.testing.assert_close(mean, frames.mean(0))
    torch.testing.assert_close(deviation, frames.std(0, correction=0))
