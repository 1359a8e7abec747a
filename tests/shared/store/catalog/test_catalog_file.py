"""The stored table of a folder of shards."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from foal.shared.errors import StoreError
from foal.shared.store.catalog import CatalogRows, ShardInfo, read_shards
from foal.shared.store.catalog.catalog_file import read_catalog_file, write_catalog_file
from foal.tests.shared.sample_shard import HEADER, make_entry, write_shard

EditSealed = Callable[[Path], AbstractContextManager[h5py.File]]


@pytest.fixture
def table(tmp_path: Path) -> tuple[dict[str, ShardInfo], CatalogRows]:
    """Two shards of three utterances, one with a note, a content hash and a quality measure."""
    special = make_entry("é", note="cut off", content="xxh3:1", quality={"decoded": 0.5}, valid=np.zeros(3, bool))
    write_shard(tmp_path / "a.h5", make_entry("u"), special)
    write_shard(tmp_path / "b.h5", make_entry("v", np.ones((0, 4), np.float32)))
    catalog = read_shards([tmp_path / "a.h5", tmp_path / "b.h5"], "audio", HEADER.config_hash, verify=True)
    numbers = np.array([["a.h5", "b.h5"].index(path.name) for path in catalog.paths])
    return {path.name: catalog.shards[path] for path in sorted(catalog.shards)}, catalog.rows.renumbered(numbers)


def test_a_table_is_read_as_it_was_written(tmp_path: Path, table: tuple[dict[str, ShardInfo], CatalogRows]) -> None:
    shards, rows = table
    write_catalog_file(tmp_path / "catalog", shards, rows)
    read = read_catalog_file(tmp_path / "catalog")
    assert read.shards == shards
    assert list(read.names) == ["a.h5", "b.h5"]
    for column in fields(CatalogRows):
        if column.name != "quality":
            assert getattr(read.rows, column.name).tolist() == getattr(rows, column.name).tolist()
    np.testing.assert_array_equal(read.rows.quality["decoded"], rows.quality["decoded"])
    assert sorted(read.rows.notes.tolist()) == ["", "", "cut off"]
    write_catalog_file(tmp_path / "again", read.shards, read.rows)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "catalog").read_bytes()


def test_a_table_without_shards_is_possible(tmp_path: Path) -> None:
    write_catalog_file(tmp_path / "catalog", {}, CatalogRows())
    read = read_catalog_file(tmp_path / "catalog")
    assert (dict(read.shards), len(read.rows)) == ({}, 0)


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("rows/shard", [0, 0, 2], "outside of their shards"),
        ("rows/offset", [0, -1, 0], "outside of their shards"),
        ("rows/length", [3, 2**62, 0], "outside of their shards"),
        ("rows/length", [0, 3, 2], "rows for all frames of each shard"),
        ("rows/valid_frames", [4, 0, 0], "outside of their shards"),
        ("rows/notes", [0, 1, 7], "numbers outside of its values"),
        ("rows/origins", [0.0, np.nan, 0.0], "outside of their shards"),
        ("rows/row", [0, 1], "different lengths"),
        ("shards/kind", [0, 3], "numbers outside of its values"),
        ("shards/size", [1], "shorter"),
    ],
)
def test_a_sealed_table_that_contradicts_itself_is_refused(
    tmp_path: Path,
    table: tuple[dict[str, ShardInfo], CatalogRows],
    edit_sealed: EditSealed,
    column: str,
    values: list[float],
    problem: str,
) -> None:
    path = tmp_path / "catalog"
    write_catalog_file(path, *table)
    with edit_sealed(path) as file:
        dtype = file[column].dtype
        del file[column]
        file[column] = np.array(values, dtype)
    with pytest.raises(StoreError, match=problem):
        read_catalog_file(path)


@pytest.mark.parametrize("kind", ["null", "[1, 2]", '[{"modality": "audio"}, [4], "float16"]', "[" * 9999])
def test_a_header_that_is_none_is_refused(
    tmp_path: Path, table: tuple[dict[str, ShardInfo], CatalogRows], edit_sealed: EditSealed, kind: str
) -> None:
    path = tmp_path / "catalog"
    write_catalog_file(path, *table)
    with edit_sealed(path) as file:
        del file["shards/kind_values"]
        file["shards/kind_values"] = np.array([kind.encode()])
    with pytest.raises(StoreError, match="damaged"):
        read_catalog_file(path)


def test_values_of_another_type_in_a_header_are_refused(
    tmp_path: Path, table: tuple[dict[str, ShardInfo], CatalogRows]
) -> None:
    shards, rows = table
    header = replace(HEADER, config_hash=5)  # type: ignore[arg-type]
    write_catalog_file(tmp_path / "c", {name: replace(info, header=header) for name, info in shards.items()}, rows)
    with pytest.raises(StoreError, match="expected the header of a shard"):
        read_catalog_file(tmp_path / "c")
