"""The tables of an index agree with the content of its shards."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from foal.shared.errors import StoreError, UsageError
from foal.shared.store.catalog import Catalog, read_catalog
from foal.shared.store.index_tables import LocatedStream, relative_paths, utterance_columns, write_tables
from foal.shared.store.shard import ShardReader
from foal.shared.utterance import Utterance

CONFIG_HASH = "0" * 64


def located(utterances: list[Utterance], catalog: Catalog) -> dict[str, LocatedStream]:
    rows = catalog.match(utterances, "audio")
    assert (rows >= 0).all()
    return {"audio": LocatedStream(catalog=catalog, rows=rows)}


@pytest.fixture
def catalog(tmp_path: Path, make_features: Callable[..., Path], sample_utterances: list[Utterance]) -> Catalog:
    """The audio shards of three sessions in features/."""
    features = make_features(tmp_path / "features", sample_utterances, widths={"audio": 4}, key=CONFIG_HASH)
    return read_catalog(features, "audio", CONFIG_HASH)


@pytest.mark.parametrize("pack", [False, True], ids=["shards", "packed"])
def test_the_columns_of_a_stream_locate_its_values(
    tmp_path: Path, catalog: Catalog, sample_utterances: list[Utterance], pack: bool
) -> None:
    with h5py.File(tmp_path / "index.h5", "w") as file:
        columns = utterance_columns(sample_utterances)
        write_tables(file, tmp_path, columns, located(sample_utterances, catalog), pack=pack)
        assert file["utterances/id"].asstr()[:].tolist() == [utterance.id for utterance in sample_utterances]
        stream = file["streams/audio"]
        paths = file["shards/path"].asstr()[:].tolist()
        assert len(paths) == (0 if pack else 3)
        for row in range(len(sample_utterances)):
            location = catalog.find(sample_utterances[row], "audio")
            assert location is not None
            with ShardReader(location.shard) as shard:
                entry = shard.entry(location.row)
                start = stream["offset"][row]
                stop = start + stream["length"][row]
                values = stream["values"][start:stop] if pack else shard.values(start, stop)
            np.testing.assert_array_equal(values, entry.values)
            assert stream["valid_frames"][row] == entry.valid.sum()
            shard_number = stream["shard"][row]
            assert shard_number == -1 if pack else tmp_path / paths[shard_number] == location.shard


def test_shards_of_two_configurations_are_refused(
    tmp_path: Path, make_features: Callable[..., Path], catalog: Catalog, sample_utterances: list[Utterance]
) -> None:
    other = sample_utterances[:3]
    make_features(tmp_path / "features", other, widths={"audio": 4}, key="1" * 64)
    catalog.update(read_catalog(tmp_path / "features", "audio", "1" * 64))
    mixed = [*other, sample_utterances[3]]
    with (
        h5py.File(tmp_path / "index.h5", "w") as file,
        pytest.raises(StoreError, match="audio shards are inconsistent"),
    ):
        write_tables(file, tmp_path, utterance_columns(mixed), located(mixed, catalog), pack=False)


def test_a_shard_that_changes_during_indexing_is_refused(
    tmp_path: Path, catalog: Catalog, sample_utterances: list[Utterance]
) -> None:
    streams, columns = located(sample_utterances, catalog), utterance_columns(sample_utterances)
    path = catalog.paths[0]
    path.write_bytes(path.read_bytes() + b"more")
    with h5py.File(tmp_path / "index.h5", "w") as file, pytest.raises(StoreError, match="changed while the index"):
        write_tables(file, tmp_path, columns, streams, pack=False)


def test_paths_are_relative_to_the_folder_of_the_index(tmp_path: Path) -> None:
    inside = tmp_path / "project" / "features" / "a.h5"
    assert relative_paths([inside], tmp_path / "project") == ["features/a.h5"]
    with pytest.raises(UsageError, match=r"must be in a folder above its shards; .* --pack"):
        relative_paths([inside], tmp_path / "elsewhere")
