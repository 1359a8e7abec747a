import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from foal.shared.errors import StoreError
from foal.shared.hdf5.opening import FutureError
from foal.shared.hdf5.seal import write_seal
from foal.shared.store.shard import Entry, ShardHeader, ShardReader, ShardWriter, verify_shard

Altered = Callable[[Path], AbstractContextManager[h5py.File]]
HEADER = ShardHeader(
    modality="audio",
    config_hash="k" * 64,
    rate_hz=50.0,
    encoder="e",
    revision="r",
    weights="w",
    random_weights=True,
    config={"layers": "last", "nested": {"a": [1, 2]}},
)


def entry(name: str = "u", values: np.ndarray | None = None, **changes: object) -> Entry:
    values = np.ones((3, 4), np.float32) if values is None else values
    fields: dict[str, object] = {"id": name, "values": values, "valid": np.ones(len(values), bool)}
    fields |= {"origin": 0.0125, "source": "s", "media": "m"}
    return Entry(**(fields | changes))  # type: ignore[arg-type]


def write(path: Path, *entries: Entry, dtype: str = "float16") -> Path:
    with ShardWriter(path, HEADER, dtype=dtype) as writer:  # type: ignore[arg-type]
        for one in entries:
            writer.add(one)
    return path


@st.composite
def chunks(draw: st.DrawFn) -> list[Entry]:
    frame = draw(st.sampled_from([(1,), (5,), (3, 4)]))
    ids = draw(
        st.lists(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
            unique=True,
            min_size=1,
            max_size=6,
        )
    )
    found = []
    for name in ids:
        length = draw(st.integers(0, 7))
        values = draw(npst.arrays(np.float32, (length, *frame), elements=st.floats(-100, 100, width=16)))
        valid = draw(npst.arrays(bool, length))
        found.append(
            entry(name, values, valid=valid, origin=draw(st.floats(0, 1e4)), note=draw(st.sampled_from(["", "n"])))
        )
    return found


@given(chunks())
def test_a_shard_reads_back_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]) -> None:
    path = write(tmp_path_factory.mktemp("shard") / "s.h5", *entries, dtype="float32")
    assert verify_shard(path) == []
    with ShardReader(path) as shard:
        assert shard.header == HEADER
        assert shard.ids == [one.id for one in entries]
        for row, one in enumerate(entries):
            got = shard.entry(row)
            np.testing.assert_array_equal(got.values, one.values)
            np.testing.assert_array_equal(got.valid, one.valid)
            assert (got.origin, got.source, got.media, got.note) == (one.origin, one.source, one.media, one.note)


def test_damaged_and_foreign_files_are_named(tmp_path: Path, altered: Altered) -> None:
    path = write(tmp_path / "s.h5", entry("a"), entry("b"))
    whole = path.read_bytes()

    path.write_bytes(whole[: len(whole) // 2])
    assert verify_shard(path)
    path.write_text("not HDF5 at all")
    assert "truncated or not HDF5" in verify_shard(path)[0]
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        file["values"][4, 1] = 7
    assert "checksum" in verify_shard(path)[0]
    write_seal(path)
    assert verify_shard(path) == ["utterance 'b': its values do not match their checksum"]
    path.write_bytes(whole)
    with altered(path) as file:
        del file["offsets"]
    assert "damaged" in verify_shard(path)[0]
    path.write_bytes(whole)
    with altered(path) as file:
        file["offsets"][:] = [0, 99, 6]
    assert "inconsistent" in verify_shard(path)[0]
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    assert "expected a file of format foal-shard" in verify_shard(tmp_path / "other.h5")[0]
    assert "no such shard" in verify_shard(tmp_path / "none.h5")[0]
    os.mkfifo(tmp_path / "pipe.h5")
    assert "expected a regular file" in verify_shard(tmp_path / "pipe.h5")[0]
    assert "expected a regular file" in verify_shard(tmp_path)[0]


def test_a_shard_of_an_older_version_is_refused_with_its_remedy(tmp_path: Path, altered: Altered) -> None:
    path = write(tmp_path / "s.h5", entry("a"))
    with altered(path) as file:
        file.attrs["version"] = 3
    message = f"{path}: shard format 3 (foal 0.1); this version reads format 4; run `foal extract` again"
    with pytest.raises(StoreError, match=re.escape(message)):
        ShardReader(path)
    assert verify_shard(path) == [message.removeprefix(f"{path}: ")]


def test_a_shard_of_a_newer_version_is_a_future_error(tmp_path: Path, altered: Altered) -> None:
    path = write(tmp_path / "s.h5", entry("a"))
    with altered(path) as file:
        file.attrs["version"] = 99
    with pytest.raises(FutureError, match=r"shard format 99 \(a newer foal\); .* update foal"):
        ShardReader(path)


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1))
def test_any_text_reads_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    ends = [text + end for text in texts for end in ("", " ", "\n")]
    ids = [f"{number} {text}" for number, text in enumerate(ends)]
    path = write(
        tmp_path_factory.mktemp("texts") / "s.h5",
        *(entry(name, note=text, source=text, media="") for name, text in zip(ids, ends, strict=True)),
    )
    with ShardReader(path) as shard:
        assert (shard.ids, shard.notes, shard.sources, shard.media) == (ids, ends, ends, [""] * len(ends))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, range]:
    """A shard in order, and the position of its twelve values in the file."""
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    path = write(tmp_path_factory.mktemp("whole") / "s.h5", entry("a", values))
    assert verify_shard(path) == []
    with h5py.File(path) as file:
        begin, size = file["values"].id.get_offset(), file["values"].id.get_storage_size()
    assert size == 2 * 12
    return path, range(begin, begin + size)


@given(byte=st.integers(0, 2 * 12 - 1), bit=st.integers(0, 7))
def test_every_flipped_bit_of_the_values_is_detected(whole: tuple[Path, range], byte: int, bit: int) -> None:
    path, extents = whole
    content = bytearray(path.read_bytes())
    content[extents[byte]] ^= 1 << bit
    spoilt = path.with_name("spoilt.h5")
    spoilt.write_bytes(content)
    assert verify_shard(spoilt)
    write_seal(spoilt)
    assert "checksum" in verify_shard(spoilt)[0]
