"""Rows read without HDF5 equal those read with HDF5, at the extents of the index or shard, or raise an error."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from foal.shared.errors import StoreError
from foal.shared.hdf5.checked_reader import ValidatedGroup
from foal.shared.hdf5.opening import wrap_as_store_error
from foal.shared.hdf5.raw_rows import PackedRows, extents_of
from foal.shared.hdf5.seal import SEAL_SIZE, write_seal
from foal.shared.store import index_shards as indexed_shards
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.index_shards import shard_rows
from foal.shared.store.index_writer import write_index
from foal.shared.store.shard import ShardReader
from foal.shared.store.verify import verify_values
from foal.shared.utterance import Utterance

MakeFeatures = Callable[..., Path]
Tables = dict[str, tuple[np.ndarray, np.ndarray]]
KEYS = {"audio": "0" * 64, "face": "0" * 64}
EditSealed = Callable[[Path], AbstractContextManager[h5py.File]]
REFUSED = {
    "chunked": {"chunks": True},
    "compressed": {"chunks": True, "compression": "gzip"},
    "big-endian": {"dtype": ">f4"},
    "float64": {"dtype": "f8"},
}


def rows_of(path: Path, group: str = "/") -> PackedRows:
    with h5py.File(path, "r") as file, wrap_as_store_error(path, "repair it"):
        return PackedRows(path, extents_of(open_group(path, file, group)), remedy="repair it")


def open_group(path: Path, file: h5py.File, group: str = "/") -> ValidatedGroup:
    opened = ValidatedGroup.root(file.id, path.stat().st_size)
    for name in filter(None, group.split("/")):
        opened = opened.group(name)
    return opened


def two_tables(path: Path, frames: int = 40, *, group: str = "/", **layout: Any) -> Path:
    rng = np.random.default_rng(0)
    with h5py.File(path, "a") as file:
        tables = file.require_group(group)
        values = rng.normal(size=(frames, 3, 2)).astype(np.float32)
        tables.create_dataset("values", data=values, **layout)
        tables.create_dataset("valid", data=rng.random(frames) < 0.5)
    return path


@pytest.mark.parametrize("group", ["/", "/streams/face/clip"])
def test_rows_equal_those_read_with_hdf5(tmp_path: Path, group: str) -> None:
    path = two_tables(tmp_path / "file.h5", group=group)
    if group != "/":
        two_tables(path, 7)  # other tables of the same names
    rows = rows_of(path, group)
    with h5py.File(path, "r") as file:
        for start, count in ((0, 40), (0, 1), (13, 20), (39, 1), (7, 0), (40, 0)):
            values, valid = np.full((count, 3, 2), np.nan, np.float32), np.zeros(count, bool)
            rows.read("values", start, values)
            rows.read("valid", start, valid)
            np.testing.assert_array_equal(values, file[group]["values"][start : start + count])
            np.testing.assert_array_equal(valid, file[group]["valid"][start : start + count])


@pytest.mark.parametrize("layout", REFUSED.values(), ids=REFUSED)
def test_only_contiguous_rows_are_read(tmp_path: Path, layout: dict[str, Any]) -> None:
    path = two_tables(tmp_path / "file.h5", **layout)
    with pytest.raises(StoreError, match=r"file\.h5: damaged \(values: expected .*; repair it"):
        rows_of(path)


def test_empty_tables_are_read_and_unwritten_tables_are_refused(tmp_path: Path) -> None:
    rows = rows_of(two_tables(tmp_path / "empty.h5", 0))
    rows.read("values", 0, np.empty((0, 3, 2), np.float32))
    with pytest.raises(StoreError, match=r"empty\.h5"):
        rows.read("values", 0, np.empty((1, 3, 2), np.float32))
    with h5py.File(tmp_path / "unwritten.h5", "w") as file:
        file.create_dataset("values", (4, 2), np.float16, fillvalue=7)
        file.create_dataset("valid", (4,), bool)
    with pytest.raises(StoreError, match="which the file does not contain"):
        rows_of(tmp_path / "unwritten.h5")


def test_rows_outside_the_table_are_refused(tmp_path: Path) -> None:
    rows = rows_of(two_tables(tmp_path / "file.h5"))
    for start, shape in ((40, (1, 3, 2)), (35, (6, 3, 2)), (0, (41, 3, 2)), (0, (4, 2, 3)), (0, (4, 6))):
        with pytest.raises(StoreError, match=r"file\.h5: damaged \(values: expected rows .*, got rows .*\); repair it"):
            rows.read("values", start, np.empty(shape, np.float32))
    with pytest.raises(StoreError, match=r"file\.h5"):
        rows.read("boxes", 0, np.empty((1, 3, 2), np.float32))
    with pytest.raises(StoreError, match="expected contiguous float64, got float32"):
        rows.read("values", 2, np.zeros((5, 3, 2)))
    rows.close()
    with pytest.raises(StoreError, match="closed"):
        rows.read("values", 0, np.empty((1, 3, 2), np.float32))


def test_damaged_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = two_tables(tmp_path / "file.h5")
    rows = rows_of(path)
    content = bytearray(path.read_bytes())
    content[rows.extents["valid"].offset + 3] = 2
    path.write_bytes(content)
    with pytest.raises(StoreError, match="expected flags of 0 or 1"):
        rows.read("valid", 0, np.empty(40, bool))
    os.truncate(path, rows.extents["values"].offset + 20 * 24)
    buffer = np.empty((20, 3, 2), np.float32)
    rows.read("values", 0, buffer)
    with pytest.raises(StoreError, match=r"file\.h5: damaged \(values is truncated\); repair it"):
        rows.read("values", 19, buffer[:2])
    path.unlink()
    rows.read("values", 0, buffer)  # an open file remains readable
    with pytest.raises(StoreError, match=r"file\.h5"):
        PackedRows(path, rows.extents, remedy="repair it")
    os.mkfifo(path)
    with pytest.raises(StoreError, match="expected a regular file"):
        PackedRows(path, rows.extents, remedy="repair it")


@pytest.fixture
def store_path(tmp_path: Path, make_features: MakeFeatures, sample_utterances: list[Utterance]) -> Path:
    make_features(tmp_path / "features", sample_utterances)
    write_index(tmp_path / "feats.h5", sample_utterances, tmp_path / "features", KEYS)
    return tmp_path / "feats.h5"


def one_shard(store_path: Path, modality: str = "audio") -> Path:
    (path,) = (store_path.parent / "features" / "session2").glob(f"{modality}-*/*.h5")
    return path


def read_all(store_path: Path) -> Tables:
    with FeatureStore(store_path) as store:
        packed = {name: store.packed(name) for name in store.streams}
    return {name: (rows.values, rows.valid) for name, rows in packed.items()}


def assert_same(actual: Tables, expected: Tables) -> None:
    assert actual.keys() == expected.keys()
    for name, arrays in expected.items():
        for actual_array, expected_array in zip(actual[name], arrays, strict=True):
            np.testing.assert_array_equal(actual_array, expected_array)


def test_many_threads_can_read_many_shards(
    tmp_path: Path, make_features: MakeFeatures, sample_utterances: list[Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexed_shards, "MAX_OPEN_SHARDS", 3)
    utterances = [replace(sample_utterances[0], id=f"u{i}", session=f"session{i // 2}") for i in range(36)]
    features = make_features(tmp_path / "features", utterances, widths={"audio": 8})
    write_index(tmp_path / "feats.h5", utterances, features, {"audio": KEYS["audio"]})
    with FeatureStore(tmp_path / "feats.h5") as store:
        assert len(store.shard_paths) == 18
        all_rows = store.packed("audio")
        assert open_files(features) <= 3

        def read(seed: int) -> None:
            rng = np.random.default_rng(seed)
            for _ in range(15):
                rows = rng.integers(0, 36, 12)
                got = store.packed("audio", rows.tolist())
                for position, row in enumerate(rows):
                    actual = slice(got.offsets[position], got.offsets[position + 1])
                    expected = slice(all_rows.offsets[row], all_rows.offsets[row + 1])
                    np.testing.assert_array_equal(got.values[actual], all_rows.values[expected])
                    np.testing.assert_array_equal(got.valid[actual], all_rows.valid[expected])

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(read, range(8))) == [None] * 8
        assert open_files(features) <= 3


def open_files(folder: Path) -> int:
    """The number of files in a folder that this process has open."""
    handles = Path("/proc/self/fd")
    targets = [os.readlink(handle) for handle in handles.iterdir() if handle.is_symlink() and handle.exists()]
    return sum(target.startswith(str(folder)) for target in targets)


def rewrite(shard: Path) -> None:
    """Write the same content to a file of the same size, with the tables in another order."""
    before = shard.stat().st_size
    other = shard.with_suffix(".new")
    with h5py.File(shard, "r") as source, h5py.File(other, "w") as target:
        for name in sorted(source):
            source.copy(name, target)
        for name in source.attrs:
            target.attrs.create(name, source.attrs[name], dtype=source.attrs.get_id(name).dtype)
    assert other.stat().st_size <= before - SEAL_SIZE
    os.truncate(other, before - SEAL_SIZE)  # HDF5 ignores bytes after the end of its content
    write_seal(other)
    other.replace(shard)


def test_a_rewritten_shard_is_read_at_its_new_extents(store_path: Path) -> None:
    before = read_all(store_path)
    shard = one_shard(store_path)
    with ShardReader(shard) as reader, h5py.File(shard, "r") as file:
        digest, old_offset = reader.digest, file["values"].id.get_offset()
    rewrite(shard)
    rows = shard_rows(shard, digest)
    assert rows is not None
    assert rows.extents["values"].offset not in (-1, old_offset)
    assert_same(read_all(store_path), before)
    assert shard_rows(shard, "another digest") is None


@pytest.mark.parametrize("column", indexed_shards.SHARD_EXTENTS)
@pytest.mark.parametrize("change", [-1, 2, 1 << 40, -(1 << 40)])
def test_wrong_extents_in_an_index_are_replaced_or_refused(
    store_path: Path, edit_sealed: EditSealed, column: str, change: int
) -> None:
    before = read_all(store_path)
    with edit_sealed(store_path) as file:
        file["shards"][column][:] += change
    # Plausible wrong extents are replaced by those of the shard; impossible ones are refused.
    if column != "frames" and change == -1:
        assert_same(read_all(store_path), before)
    else:
        try:
            assert_same(read_all(store_path), before)
        except StoreError as error:
            assert str(error).startswith(f"{store_path}: damaged")  # noqa: PT017
    if abs(change) > 2:
        with pytest.raises(StoreError, match=r"feats\.h5: damaged"):
            FeatureStore(store_path)


def test_a_shard_of_another_size_is_refused(store_path: Path) -> None:
    shard = one_shard(store_path)
    content = shard.read_bytes()
    shard.write_bytes(content[:-SEAL_SIZE] + bytes(16))
    write_seal(shard)
    with pytest.raises(StoreError) as caught:
        read_all(store_path)
    assert str(caught.value) == f"{shard}: the shard is not the one that {store_path} indexed; run `foal index` again"
    shard.write_bytes(content + bytes(16))
    with pytest.raises(StoreError, match="the checksum line at the end is missing or invalid"):
        read_all(store_path)


@pytest.mark.parametrize("name", ["values", "valid"])
@pytest.mark.parametrize("pack", [False, True], ids=["shards", "packed"])
def test_a_flipped_bit_is_reported_and_its_values_are_never_returned(
    store_path: Path, sample_utterances: list[Utterance], name: str, pack: bool
) -> None:
    if pack:
        write_index(store_path, sample_utterances, store_path.parent / "features", KEYS, pack=True)
    path, group = (store_path, "streams/face") if pack else (one_shard(store_path, "face"), "/")
    with FeatureStore(store_path) as store:
        intact = [i for i, u in enumerate(sample_utterances) if u.session != "session2"]
        before = store.packed("face", intact)
        # The third utterance of the session; its offset is in its shard or in the packed values.
        row = [i for i, u in enumerate(sample_utterances) if u.session == "session2"][2]
        shard_number, offset = (int(column[row]) for column in store.extents("face"))
        assert (shard_number == -1) == pack
    with h5py.File(path) as file:
        extent = extents_of(open_group(path, file, group))[name]
    step = extent.dtype.itemsize * int(np.prod(extent.shape[1:]))
    content = bytearray(path.read_bytes())
    content[extent.offset + offset * step] ^= 1
    path.write_bytes(content)
    if pack:
        with pytest.raises(StoreError, match="does not match its checksum"):
            FeatureStore(path)
        write_seal(path)  # as for a file that is too large to be verified when opened
    with FeatureStore(store_path) as store:
        after = store.packed("face", intact)
        np.testing.assert_array_equal(after.values, before.values)
        np.testing.assert_array_equal(after.valid, before.valid)
        for rows in (None, [row]):
            with pytest.raises(StoreError, match="do not match their checksum") as caught:
                store.packed("face", rows)
            assert str(caught.value).startswith(f"{path}: the face values of utterance {sample_utterances[row].id!r} ")
        assert [file for file, _ in verify_values(store)] == [path]
