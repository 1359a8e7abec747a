import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import TrainingError
from foal.shared.hdf5.seal import write_seal
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.shard import feature_checksum
from foal.shared.utterance import Utterance
from foal.train.data import features as features_module
from foal.train.data.batches import training_batches
from foal.train.data.dataset import Dataset, open_dataset
from foal.train.data.features import CHUNKS_IN_MEMORY, Features, OnDisk, StreamSource, read_streams
from foal.train.data.normalization import frame_statistics
from foal.train.data.sequences import pad_batch
from foal.train.fit.predict import predict
from foal.train.model.foalnet import FoalNet

CPU = torch.device("cpu")
N = 60
BUDGET = 1500
"""In bytes; the features of all 60 utterances take about 8,000."""
OpenDataset = Callable[..., Dataset]


@pytest.fixture(scope="module")
def index_paths() -> dict[bool, Path]:
    """Paths of the files that `stored` has written, by `pack`; read only."""
    return {}


@pytest.fixture(params=[False, True], ids=["shards", "packed"])
def stored(
    request: pytest.FixtureRequest, index_paths: dict[bool, Path], tmp_path: Path, make_index: Callable[..., Path]
) -> Path:
    """feats.h5 with 60 utterances of three classes in four sessions; their order differs from that on disk."""
    if request.param not in index_paths:
        utterances = [
            Utterance(
                id=f"u{i}",
                corpus="test",
                session=f"session{i * 7 % 4 + 1}",
                speaker=f"s{i % 8}",
                label="abc"[i % 3],
                audio=f"{i}.wav",
                video=f"{i}.mp4",
                end=1.0,
            )
            for i in range(N)
        ]
        index_paths[request.param] = make_index(tmp_path, utterances, pack=request.param)
    return index_paths[request.param]


@pytest.fixture
def dataset(stored: Path) -> Iterator[OpenDataset]:
    """Open the features with the given settings; with load="disk", within BUDGET."""
    with ExitStack() as stack:

        def make(**options: Any) -> Dataset:
            settings = TrainSettings(disk_buffer_mb=BUDGET / 1e6, **options)
            return stack.enter_context(open_dataset(stored, settings, classes=None))

        yield make


def frames_of(features: Features, rows: Tensor, rng: torch.Generator | None = None) -> list[tuple[int, Any]]:
    """Row and frames (values and flags by modality, as lists) of all chunks, sorted by row."""
    rows_and_frames = []
    for chunk in features.iter_chunks(rows, rng):
        for row, position in zip(chunk.rows.tolist(), chunk.positions, strict=True):
            frames = {name: pad_batch(stream, position[None], CPU) for name, stream in chunk.streams.items()}
            frames_as_lists = {n: (x.values.tolist(), x.valid.tolist()) for n, x in frames.items()}
            rows_and_frames.append((row, frames_as_lists))
    return sorted(rows_and_frames, key=lambda row_and_frames: row_and_frames[0])


@pytest.mark.parametrize(
    "options", [{"frame_rate": None}, {"frame_rate": 20.0}, {"frame_rate": 4.0}, {"max_seconds": 0.1}], ids=str
)
def test_frames_are_the_same_in_memory_and_on_disk(dataset: OpenDataset, options: dict[str, Any]) -> None:
    in_memory, on_disk = dataset(**options), dataset(load="disk", **options)
    assert torch.equal(in_memory.features.lengths, on_disk.features.lengths)
    assert in_memory.features.frame_shapes == on_disk.features.frame_shapes
    assert in_memory.rates == on_disk.rates
    rows = torch.tensor([5, 59, 5, 17, 0, 31, 5, 44])
    for rng in (None, torch.Generator().manual_seed(0)):
        expected = frames_of(in_memory.features, rows, rng)
        assert frames_of(on_disk.features, rows, rng) == expected
    face_only = [data.select(["face"], 0.1).features for data in (in_memory, on_disk)]
    assert list(face_only[0].frame_shapes) == list(face_only[1].frame_shapes) == ["face"]
    assert torch.equal(face_only[0].lengths, face_only[1].lengths)
    assert frames_of(face_only[0], rows) == frames_of(face_only[1], rows)


def test_selected_features_keep_their_maximum_length(dataset: OpenDataset) -> None:
    in_memory, on_disk = (dataset(max_seconds=0.1, load=load).select(["face"]).features for load in ("memory", "disk"))
    assert torch.equal(in_memory.lengths, on_disk.lengths)
    assert frames_of(in_memory, torch.arange(N)) == frames_of(on_disk, torch.arange(N))


@pytest.mark.parametrize("load", ["memory", "disk"])
def test_chunks_contain_every_row_as_often_as_drawn(dataset: OpenDataset, load: str) -> None:
    data = dataset(load=load)
    rng = torch.Generator().manual_seed(0)
    for _ in range(5):
        rows = torch.randint(N, (150,), generator=rng)
        for generator in (None, rng):
            visited = torch.cat([chunk.rows for chunk in data.features.iter_chunks(rows, generator)])
            assert torch.equal(visited.sort().values, rows.sort().values)


def test_chunks_fill_their_share_of_the_budget(dataset: OpenDataset) -> None:
    data = dataset(load="disk")
    rng = torch.Generator().manual_seed(0)
    longest = max(nbytes(data.features, torch.tensor([row])) for row in range(N))
    sizes = [
        [
            sum(stream.nbytes for stream in chunk.streams.values())
            for chunk in data.features.iter_chunks(torch.arange(N), generator)
        ]
        for generator in (None, rng, rng)
    ]
    for chunk_sizes in sizes:
        assert len(chunk_sizes) > 5
        assert max(chunk_sizes) <= BUDGET / CHUNKS_IN_MEMORY + longest
        assert sum(chunk_sizes) == sum(sizes[0])
        # Two adjacent chunks together exceed the size of one.
        assert all(left + right > BUDGET / CHUNKS_IN_MEMORY for left, right in pairwise(chunk_sizes))


def nbytes(features: Features, rows: Tensor) -> int:
    return sum(stream.nbytes for chunk in features.iter_chunks(rows) for stream in chunk.streams.values())


def test_an_utterance_larger_than_the_budget_is_a_chunk_of_its_own(stored: Path) -> None:
    sources = {"audio": StreamSource(name="audio", rate_hz=50.0, frame_rate=None)}
    with FeatureStore(stored) as store:
        features = OnDisk(store, range(N), sources, budget=1)
        chunks = list(features.iter_chunks(torch.arange(N)))
    assert [len(chunk.rows) for chunk in chunks] == [1] * N


def test_random_chunks_contain_rows_from_all_parts_of_the_file(dataset: OpenDataset) -> None:
    features = dataset(load="disk").features
    rng = torch.Generator().manual_seed(0)
    orders = [
        torch.cat([chunk.rows for chunk in features.iter_chunks(torch.arange(N), generator)]).tolist()
        for generator in (None, None, rng, rng)
    ]
    assert orders[0] == orders[1]
    assert orders[1] != orders[2] != orders[3]
    # A chunk consists of blocks from all parts of the file: its rows are not contiguous on disk.
    position = {row: i for i, row in enumerate(orders[0])}
    first = next(iter(features.iter_chunks(torch.arange(N), rng)))
    positions = sorted(position[row] for row in first.rows.tolist())
    assert positions[-1] - positions[0] > len(positions)


@pytest.mark.parametrize("frame_rate", [None, 10.0])
def test_statistics_are_the_same_in_memory_and_on_disk(dataset: OpenDataset, frame_rate: float | None) -> None:
    rows = torch.arange(3, N, 2)
    in_memory = frame_statistics(dataset(frame_rate=frame_rate).features, rows)
    on_disk = frame_statistics(dataset(frame_rate=frame_rate, load="disk").features, rows)
    assert list(in_memory) == list(on_disk) == ["audio", "face"]
    for name in in_memory:
        torch.testing.assert_close(on_disk[name], in_memory[name], rtol=1e-6, atol=1e-6)


def test_predictions_are_the_same_in_memory_and_on_disk(
    dataset: OpenDataset, make_model: Callable[..., FoalNet]
) -> None:
    data = dataset()
    rows = torch.tensor([7, 2, 19, 2, 40])
    expected, on_disk = (
        predict(make_model(data), source, rows, batch_size=3, device=CPU) for source in (data, dataset(load="disk"))
    )
    torch.testing.assert_close(on_disk, expected, atol=1e-6, rtol=1e-5)


def test_batches_from_disk_form_an_epoch(dataset: OpenDataset) -> None:
    data = dataset(load="disk")
    rows = torch.arange(10, N)
    batches = training_batches(data, rows, batch_size=8, generator=torch.Generator().manual_seed(0), device=CPU)
    drawn = torch.cat([batch.rows for batch in batches])
    assert len(drawn) == len(rows)
    assert set(drawn.tolist()) <= set(rows.tolist())


def test_unpooled_streams_equal_the_store(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = {name: StreamSource(name=name, rate_hz=10.0, frame_rate=None) for name in ("audio", "face")}
    rows = [59, 3, 4, 5, 3, 30, 0]
    with FeatureStore(stored) as store:
        for read_bytes in (features_module.READ_BYTES, 40):
            monkeypatch.setattr(features_module, "READ_BYTES", read_bytes)
            for name, stream in read_streams(store, rows, sources).items():
                packed = store.packed(name, rows)
                np.testing.assert_array_equal(stream.values, packed.values)
                np.testing.assert_array_equal(stream.valid, packed.valid)
                assert stream.starts.tolist() == packed.offsets[:-1].tolist()
                assert stream.lengths.tolist() == np.diff(packed.offsets).tolist()


def test_pooling_does_not_depend_on_the_read_size(dataset: OpenDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = dataset(frame_rate=7.0).features
    monkeypatch.setattr(features_module, "READ_BYTES", 40)
    in_small_reads = dataset(frame_rate=7.0).features
    assert frames_of(at_once, torch.arange(N)) == frames_of(in_small_reads, torch.arange(N))


def set_value(path: Path, row: int, number: float, *, valid: bool, frame: int) -> None:
    """Overwrite one value of an audio frame in a packed feats.h5, with a correct checksum and seal."""
    with h5py.File(path, "r+") as file:
        group = file["streams/audio"]
        start, length = int(group["offset"][row]), int(group["length"][row])
        values, flags = group["values"][start : start + length], np.ones(length, bool)
        values[frame, 3], flags[frame] = number, valid
        group["values"][start : start + length] = values
        group["valid"][start : start + length] = flags
        group["checksum"][row] = feature_checksum(values, flags, float(group["origin"][row]))
    write_seal(path)


@pytest.mark.parametrize("stored", [True], indirect=True, ids=["packed"])
@pytest.mark.parametrize("options", [{"frame_rate": None}, {"frame_rate": 10.0}, {"load": "disk"}], ids=str)
def test_non_finite_values_are_refused_with_their_utterance(
    tmp_path: Path, stored: Path, options: dict[str, Any]
) -> None:
    path = tmp_path / "bad.h5"
    settings = TrainSettings(disk_buffer_mb=BUDGET / 1e6, **options)
    message = r"bad\.h5: utterance 'u41' has NaN or infinite values in its audio features; extract it again"
    for number, frame in product((np.nan, np.inf, -np.inf), (0, -1)):
        shutil.copy(stored, path)
        set_value(path, 20, number, valid=False, frame=frame)
        set_value(path, 41, number, valid=False, frame=frame)
        with open_dataset(path, settings, classes=None) as data:
            frame_statistics(data.features, torch.arange(N))  # invalid frames are ignored
        set_value(path, 41, number, valid=True, frame=frame)
        with pytest.raises(TrainingError, match=message), open_dataset(path, settings, classes=None) as data:
            frame_statistics(data.features, torch.arange(N))


@pytest.mark.parametrize("stored", [True], indirect=True, ids=["packed"])
def test_large_finite_values_are_accepted(tmp_path: Path, stored: Path) -> None:
    path = tmp_path / "large.h5"
    shutil.copy(stored, path)
    with h5py.File(path, "r+") as file:
        group = file["streams/audio"]
        values = np.full_like(group["values"][:], 60000)  # the sum of two such values is infinite in float16
        group["values"][:] = values
        for row, (start, length) in enumerate(zip(group["offset"], group["length"], strict=True)):
            flags = group["valid"][start : start + length]
            part = values[start : start + length]
            group["checksum"][row] = feature_checksum(part, flags, float(group["origin"][row]))
    write_seal(path)
    for options in ({"frame_rate": None}, {"frame_rate": 10.0}, {"load": "disk"}):
        with open_dataset(path, TrainSettings(disk_buffer_mb=BUDGET / 1e6, **options), classes=None) as data:  # type: ignore[arg-type]
            mean, deviation = frame_statistics(data.features, torch.arange(N))["audio"]
        assert mean.tolist() == [60000.0] * 8
        assert deviation.tolist() == [1.0] * 8
