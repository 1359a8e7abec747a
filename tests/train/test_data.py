from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foal.shared.errors import TrainingError
from foal.shared.index import FeatureStore
from foal.shared.join import write_index
from foal.shared.utterance import Utterance
from foal.train.data import Dataset, Stream, averaged, collate, frame_statistics
from foal.train.load import chosen_names, load_dataset

MakeStream = Callable[..., Stream]
Make = Callable[..., Dataset]
KEYS = {"audio": "0" * 64, "face": "0" * 64}
NAMES = {"audio": "audio", "face": "face"}


def index_of(folder: Path, utterances: list[Utterance], make_features: Callable[..., Path]) -> Path:
    features = make_features(folder / "features", utterances)
    write_index(folder / "feats.h5", utterances, features, KEYS)
    return folder / "feats.h5"


def test_collate_pads_what_was_packed(make_dataset: Make) -> None:
    data = make_dataset()
    rows = torch.tensor([5, 0, 5, 23])
    batch = collate(data, rows)
    assert torch.equal(batch.rows, rows)
    assert torch.equal(batch.labels, data.labels[rows])
    for name, stream in data.streams.items():
        values, valid = batch.frames[name]
        assert values.shape[:2] == valid.shape == (4, int(stream.lengths[rows].max()))
        for place, row in enumerate(rows):
            start, length = int(stream.starts[row]), int(stream.lengths[row])
            assert torch.equal(values[place, :length], stream.values[start : start + length])
            assert torch.equal(valid[place, :length], stream.valid[start : start + length])
            assert not valid[place, length:].any()


def test_collate_of_utterances_without_frames(make_dataset: Make, make_stream: MakeStream) -> None:
    empty = make_stream([torch.zeros(0, 4), torch.ones(2, 4), torch.zeros(0, 4)])
    nothing = make_stream([torch.zeros(0, 4)] * 3)
    data = make_dataset(3, streams={"audio": empty, "face": nothing})
    batch = collate(data, torch.tensor([0, 2]))
    assert batch.frames["audio"].values.shape == batch.frames["face"].values.shape == (2, 1, 4)
    assert not batch.frames["audio"].valid.any()
    assert not batch.frames["face"].valid.any()


def test_statistics_are_those_of_valid_training_frames(make_dataset: Make) -> None:
    stream = make_dataset().streams["face"]
    rows = torch.tensor([1, 4, 6])
    frames = np.concatenate(
        [
            stream.values[s : s + n][stream.valid[s : s + n]].numpy()
            for s, n in zip(stream.starts[rows].tolist(), stream.lengths[rows].tolist(), strict=True)
        ]
    )
    mean, deviation = frame_statistics(stream, rows)
    np.testing.assert_allclose(mean, frames.mean(0), rtol=1e-5)
    np.testing.assert_allclose(deviation, frames.std(0), rtol=1e-5)
    # Neither other utterances nor invalid frames matter.
    others = torch.ones(len(stream.values), dtype=torch.bool)
    for row in rows:
        start, length = int(stream.starts[row]), int(stream.lengths[row])
        others[start : start + length] = ~stream.valid[start : start + length]
    changed = replace(stream, values=torch.where(others[:, None], 1e4, stream.values))
    assert torch.equal(frame_statistics(changed, rows)[0], mean)


def test_a_constant_dimension_has_deviation_one(make_stream: MakeStream) -> None:
    stream = make_stream([torch.tensor([[0.1, 1.0], [0.1, 3.0]]).half(), torch.zeros(0, 2).half()])
    mean, deviation = frame_statistics(stream, torch.tensor([0]))
    assert mean.tolist() == pytest.approx([0.1, 2.0], abs=1e-4)
    assert deviation.tolist() == [1.0, 1.0]
    assert frame_statistics(stream, torch.tensor([1]))[1].tolist() == [1.0, 1.0]


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=5),
    st.sampled_from([(50.0, 10.0), (30.0, 10.0), (25.0, 10.0), (49.95, 7.0)]),
    st.integers(0, 100),
)
def test_averaging_is_the_mean_of_each_window(lengths: list[int], rates: tuple[float, float], seed: int) -> None:
    rate_hz, to_hz = rates
    chance = torch.Generator().manual_seed(seed)
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    values = torch.randn(int(offsets[-1]), 3, generator=chance)
    valid = torch.rand(len(values), generator=chance) < 0.5
    stream = Stream.of(values, valid, offsets)
    got = averaged(stream, rate_hz=rate_hz, to_hz=to_hz)
    for row, length in enumerate(lengths):
        windows: dict[int, list[int]] = {}
        for frame in range(length):
            windows.setdefault(int(frame * to_hz / rate_hz + 1e-9), []).append(int(offsets[row]) + frame)
        start = int(got.starts[row])
        assert int(got.lengths[row]) == len(windows)
        for place, frames in enumerate(windows.values()):
            there = [frame for frame in frames if valid[frame]]
            assert bool(got.valid[start + place]) == bool(there)
            if there:
                torch.testing.assert_close(got.values[start + place], values[there].mean(0))


def test_averaging_leaves_slow_streams_alone(make_dataset: Make) -> None:
    stream = make_dataset().streams["face"]
    assert averaged(stream, rate_hz=10, to_hz=10) is stream


def test_load(tmp_path: Path, some_utterances: list[Utterance], make_features: Callable[..., Path]) -> None:
    utterances = [
        replace(u, label="" if i == 0 else "xxx" if i == 1 else u.label) for i, u in enumerate(some_utterances)
    ]
    with FeatureStore(index_of(tmp_path, utterances, make_features)) as store:
        data = load_dataset(store, names=NAMES, classes=("sad", "hap"), frame_rate=None)
        packed = store.packed("face")
        first = slice(*packed.offsets[2:4])
        faster = load_dataset(store, names={"audio": "audio"}, classes=("sad", "hap"), frame_rate=10.0)
    assert data.ids == tuple(f"u{i}" for i in range(2, 18))
    assert data.classes == ("sad", "hap")
    assert data.labels.tolist() == [1, 0] * 8
    assert data.group_kind == "session"
    assert data.groups[0] == "session3"
    assert data.speakers[0] == "test/s2"
    assert torch.equal(
        collate(data, torch.tensor([0])).frames["face"].values[0], torch.tensor(packed.values[first]).float()
    )
    assert data.notes[:2] == (
        "1 of 18 utterances left out: they have no label",
        "1 of 18 utterances left out: their label is xxx",
    )
    assert int(faster.streams["audio"].lengths.max()) < int(data.streams["audio"].lengths.max())


def test_folds_of_the_manifest_come_first(
    tmp_path: Path, some_utterances: list[Utterance], make_features: Callable[..., Path]
) -> None:
    utterances = [replace(u, fold=f"f{i % 4}") for i, u in enumerate(some_utterances)]
    with FeatureStore(index_of(tmp_path, utterances, make_features)) as store:
        data = load_dataset(store, names=NAMES, classes=None, frame_rate=None)
    assert data.group_kind == "fold"
    assert data.groups[:4] == ("f0", "f1", "f2", "f3")
    assert data.classes == ("hap", "sad")


def test_features_of_several_encoders_are_picked_by_name(
    tmp_path: Path, some_utterances: list[Utterance], make_features: Callable[..., Path]
) -> None:
    features = make_features(tmp_path / "features", some_utterances)
    make_features(features, some_utterances, widths={"face": 4}, key="1" * 64)
    keys = {"audio": "0" * 64, "face": "0" * 64, "face/clip": "1" * 64}
    write_index(tmp_path / "feats.h5", some_utterances, features, keys)
    with FeatureStore(tmp_path / "feats.h5") as store:
        assert list(store.modalities) == ["audio", "face", "face/clip"]
        assert chosen_names(store, {"audio": None, "face": None}) == NAMES
        picked = chosen_names(store, {"audio": None, "face": "face/clip"})
        data = load_dataset(store, names=picked, classes=None, frame_rate=None)
        with pytest.raises(
            TrainingError, match=r"expected face features called face/dino, got only audio, face, face/clip"
        ):
            chosen_names(store, {"face": "face/dino"})
        with pytest.raises(TrainingError, match="expected audio features called face, got only"):
            chosen_names(store, {"face": None, "audio": "face"})
    assert list(data.streams) == ["audio", "face"]
    assert data.streams["face"].frame_shape == (4,)

    write_index(tmp_path / "two.h5", some_utterances, features, {"face/a": "0" * 64, "face/b": "1" * 64}, pack=True)
    with FeatureStore(tmp_path / "two.h5") as store:
        assert [store.modalities[name].width for name in ("face/a", "face/b")] == [6, 4]
        assert np.isfinite(store.packed("face/b").values).all()
        with pytest.raises(TrainingError, match=r"holds face/a, face/b: say which with --face"):
            chosen_names(store, {"face": None})


def test_what_cannot_be_loaded(
    tmp_path: Path, some_utterances: list[Utterance], make_features: Callable[..., Path]
) -> None:
    features = make_features(tmp_path / "features", some_utterances, widths={"audio": 3})
    write_index(tmp_path / "feats.h5", some_utterances, features, {"audio": KEYS["audio"]})
    with FeatureStore(tmp_path / "feats.h5") as store:
        with pytest.raises(TrainingError, match=r"expected face features, got only audio; .*--modalities"):
            chosen_names(store, {"audio": None, "face": None})
        with pytest.raises(TrainingError, match="expected at least two classes, got sad"):
            load_dataset(store, names={"audio": "audio"}, classes=("sad",), frame_rate=None)
        with pytest.raises(TrainingError, match="no utterance has one of the labels joy, fear"):
            load_dataset(store, names={"audio": "audio"}, classes=("joy", "fear"), frame_rate=None)
    homeless = [replace(u, session="") for u in some_utterances]
    make_features(tmp_path / "features", homeless, widths={"audio": 3})
    write_index(tmp_path / "feats.h5", homeless, tmp_path / "features", {"audio": KEYS["audio"]})
    with (
        FeatureStore(tmp_path / "feats.h5") as store,
        pytest.raises(TrainingError, match="'u0' belongs to no session"),
    ):
        load_dataset(store, names={"audio": "audio"}, classes=None, frame_rate=None)
