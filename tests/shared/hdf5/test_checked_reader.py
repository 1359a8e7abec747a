"""String columns, padded or concatenated, and invalid content in their place."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foal.shared.hdf5.checked_reader import MAX_PADDING_BYTES, ValidatedGroup, write_strings

TEXTS = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=20)
LONG = ["short", "", "ü" * 20_000, *["row"] * 200]


def write(path: Path, **columns: list[str]) -> Path:
    with h5py.File(path, "w") as file:
        write_strings(file, **columns)
    return path


def read(path: Path, name: str) -> list[str]:
    group = ValidatedGroup.root(h5py.h5f.open(bytes(path)), path.stat().st_size)
    try:
        return group.texts(name)
    finally:
        group.close()


@given(TEXTS, st.booleans())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_strings_of_both_layouts_are_read(tmp_path: Path, texts: list[str], with_long_strings: bool) -> None:
    texts = [*texts, *LONG] if with_long_strings else texts
    path = write(tmp_path / "t.h5", name=texts)
    assert read(path, "name") == texts


def test_one_long_string_does_not_pad_the_others(tmp_path: Path) -> None:
    """Padding ten thousand strings to the maximum length of a CSV field would take 1.3 GB."""
    texts = ["so they said"] * 10_000
    texts[17] = "word " * 26_000
    path = write(tmp_path / "t.h5", transcript=texts)
    assert path.stat().st_size < 1e6
    assert read(path, "transcript") == texts


def test_short_strings_are_an_ordinary_hdf5_dataset(tmp_path: Path) -> None:
    with h5py.File(write(tmp_path / "t.h5", ids=["a", "böse", ""])) as file:
        assert list(file["ids"].asstr()) == ["a", "böse", ""]
        assert set(file) == {"ids"}


ENDS = np.cumsum([len(text.encode()) for text in LONG])


@pytest.mark.parametrize(
    "ends",
    [
        ENDS[:-1],
        ENDS - 1,
        ENDS + 1,
        ENDS[::-1],
        ENDS * 2**40,
        -ENDS,
        ENDS.astype(np.float64),
        ENDS.astype(np.int32),
        ENDS[:0],
    ],
    ids=["one missing", "too small", "too large", "descending", "huge", "negative", "float64", "int32", "empty"],
)
def test_invalid_ends_of_strings_are_refused(tmp_path: Path, ends: Any) -> None:
    assert len(LONG) * len(LONG[2].encode()) > MAX_PADDING_BYTES
    path = write(tmp_path / "t.h5", name=LONG)
    with h5py.File(path, "r+") as file:
        del file["name_end"]
        file["name_end"] = np.asarray(ends)
    with pytest.raises(ValueError, match="name"):
        read(path, "name")


@pytest.mark.parametrize("content", [np.frombuffer(b"\xff" * 40_000, np.uint8), np.zeros(40_000, np.uint8)])
def test_bytes_that_are_not_text_are_refused(tmp_path: Path, content: Any) -> None:
    path = write(tmp_path / "t.h5", name=LONG)
    with h5py.File(path, "r+") as file:
        del file["name"], file["name_end"]
        file["name"], file["name_end"] = content, np.array([len(content)])
    with pytest.raises(ValueError, match=r"NUL|utf-8"):
        read(path, "name")
