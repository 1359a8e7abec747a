"""The rows of shards in columns."""

from pathlib import Path

import numpy as np
import pytest

from foal.shared.store.catalog.rows import CatalogRows, concatenated


def make_rows(*ids: str, **quality: list[float]) -> CatalogRows:
    count = len(ids)
    numbers = np.arange(count, dtype=np.int64)
    texts = {
        name: np.array([f"{name} of {name_of_row}" for name_of_row in ids], object) for name in ("sources", "checksums")
    }
    return CatalogRows(
        ids=np.array(ids, object),
        **texts,
        media=np.array([""] * count, object),
        contents=np.array([""] * count, object),
        notes=np.array([""] * count, object),
        shard=numbers,
        row=numbers + 10,
        offset=numbers * 2,
        length=numbers + 2,
        valid_frames=numbers,
        origins=numbers / 4,
        quality={name: np.array(values, np.float32) for name, values in quality.items()},
    )


def test_rows_are_taken_and_renumbered() -> None:
    rows = make_rows("a", "b", "c", decoded=[1.0, 0.5, 0.25])
    chosen = rows.take(np.array([2, 0])).renumbered(np.array([7, 8, 9]))
    assert (chosen.ids.tolist(), chosen.shard.tolist(), chosen.row.tolist()) == (["c", "a"], [9, 7], [12, 10])
    assert chosen.quality["decoded"].tolist() == [0.25, 1.0]
    assert rows.take(rows.ids == "b").sources.tolist() == ["sources of b"]
    left = rows.of_shards(np.array([False, True, True]))
    assert (left.ids.tolist(), left.shard.tolist()) == (["b", "c"], [0, 1])
    assert rows.of_shards(np.ones(3, bool)) is rows
    assert len(CatalogRows()) == len(CatalogRows().take(np.zeros(0, np.int64))) == 0


def test_measures_that_a_table_lacks_are_unknown() -> None:
    both = concatenated([make_rows("a", "b", decoded=[1.0, 0.5]), make_rows("c", silence=[0.1]), make_rows("d", "e")])
    assert both.ids.tolist() == ["a", "b", "c", "d", "e"]
    np.testing.assert_array_equal(both.quality["decoded"], np.array([1, 0.5, np.nan, np.nan, np.nan], np.float32))
    assert both.located(0, Path("x.h5")).quality == {"decoded": 1.0}
    assert both.located(2, Path("x.h5")).quality == {"silence": pytest.approx(0.1)}
    assert both.located(3, Path("x.h5")).quality == {}
    assert len(concatenated([])) == 0


def test_a_row_is_located() -> None:
    location = make_rows("a", "b").located(1, Path("x.h5"))
    assert (location.shard, location.row, location.offset, location.length) == (Path("x.h5"), 11, 2, 3)
    assert (location.checksum, location.origin, location.valid_frames) == ("checksums of b", 0.25, 1)
