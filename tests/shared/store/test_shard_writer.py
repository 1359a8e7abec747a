"""Writing shards: layout, invalid values and interrupted writers."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from foal.shared.errors import StoreError
from foal.shared.store.shard import ShardWriter
from foal.tests.shared.sample_shard import HEADER, make_entry, write_shard


def test_values_are_one_contiguous_dataset_of_the_selected_dtype(tmp_path: Path) -> None:
    with h5py.File(write_shard(tmp_path / "s.h5", make_entry("a"), make_entry("b"))) as file:
        assert file["values"].chunks is None
        assert file["values"].dtype == np.float16
        assert file["values"].shape == (6, 4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((2, 4), np.nan, np.float32), "NaN"),
        (np.full((2, 4), np.inf, np.float32), "NaN or infinite"),
        (np.full((2, 4), 1e6, np.float32), "extract.dtype to float32"),
    ],
)
def test_values_that_are_not_finite_are_refused(tmp_path: Path, values: np.ndarray, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        write_shard(tmp_path / "s.h5", make_entry("a", values))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_writer_leaves_no_file(tmp_path: Path) -> None:
    def interrupted() -> None:
        with ShardWriter(tmp_path / "s.h5", HEADER, dtype="float16") as writer:
            writer.add(make_entry())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_frames_of_different_shapes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="shape"):
        write_shard(tmp_path / "s.h5", make_entry("a"), make_entry("b", np.ones((2, 5), np.float32)))
