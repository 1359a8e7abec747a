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
from foal.shared.store.shard import Entry, ShardReader, verify_shard
from foal.tests.shared.sample_shard import HEADER, make_entry, write_shard

EditSealed = Callable[[Path], AbstractContextManager[h5py.File]]


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
    entries = []
    for name in ids:
        length = draw(st.integers(0, 7))
        values = draw(npst.arrays(np.float32, (length, *frame), elements=st.floats(-100, 100, width=16)))
        valid = draw(npst.arrays(bool, length))
        entries.append(
            make_entry(name, values, valid=valid, origin=draw(st.floats(0, 1e4)), note=draw(st.sampled_from(["", "n"])))
        )
    return entries


@given(chunks())
def test_a_shard_reads_back_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]) -> None:
    path = write_shard(tmp_path_factory.mktemp("shard") / "s.h5", *entries, dtype="float32")
    assert verify_shard(path) == []
    with ShardReader(path) as shard:
        assert shard.header == HEADER
        assert shard.ids == [entry.id for entry in entries]
        for row, entry in enumerate(entries):
            read = shard.entry(row)
            np.testing.assert_array_equal(read.values, entry.values)
            np.testing.assert_array_equal(read.valid, entry.valid)
            assert (read.origin, read.source, read.media, read.note) == (
                entry.origin,
                entry.source,
                entry.media,
                entry.note,
            )


def test_damaged_and_other_files_are_reported(tmp_path: Path, edit_sealed: EditSealed) -> None:
    path = write_shard(tmp_path / "s.h5", make_entry("a"), make_entry("b"))
    content = path.read_bytes()

    path.write_bytes(content[: len(content) // 2])
    assert verify_shard(path)
    path.write_text("not HDF5 at all")
    assert "truncated or not HDF5" in verify_shard(path)[0]
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        file["values"][4, 1] = 7
    assert "checksum" in verify_shard(path)[0]
    write_seal(path)
    assert verify_shard(path) == ["utterance 'b': its values do not match their checksum"]
    path.write_bytes(content)
    with edit_sealed(path) as file:
        del file["offsets"]
    assert "damaged" in verify_shard(path)[0]
    path.write_bytes(content)
    with edit_sealed(path) as file:
        file["offsets"][:] = [0, 99, 6]
    assert "inconsistent" in verify_shard(path)[0]
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    assert "expected a file of format foal-shard" in verify_shard(tmp_path / "other.h5")[0]
    assert "no such shard" in verify_shard(tmp_path / "none.h5")[0]
    os.mkfifo(tmp_path / "pipe.h5")
    assert "expected a regular file" in verify_shard(tmp_path / "pipe.h5")[0]
    assert "expected a regular file" in verify_shard(tmp_path)[0]


def test_a_shard_of_an_older_version_is_refused_with_a_remedy(tmp_path: Path, edit_sealed: EditSealed) -> None:
    path = write_shard(tmp_path / "s.h5", make_entry("a"))
    with edit_sealed(path) as file:
        file.attrs["version"] = 3
    message = f"{path}: shard format 3 (foal 0.1); this version reads format 4; run `foal extract` again"
    with pytest.raises(StoreError, match=re.escape(message)):
        ShardReader(path)
    assert verify_shard(path) == [message.removeprefix(f"{path}: ")]


def test_a_shard_of_a_newer_version_is_a_future_error(tmp_path: Path, edit_sealed: EditSealed) -> None:
    path = write_shard(tmp_path / "s.h5", make_entry("a"))
    with edit_sealed(path) as file:
        file.attrs["version"] = 99
    with pytest.raises(FutureError, match=r"shard format 99 \(written by a newer version of foal\); .* update foal"):
        ShardReader(path)


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1))
def test_any_text_reads_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    ends = [text + end for text in texts for end in ("", " ", "\n")]
    ids = [f"{number} {text}" for number, text in enumerate(ends)]
    path = write_shard(
        tmp_path_factory.mktemp("texts") / "s.h5",
        *(make_entry(name, note=text, source=text, media="") for name, text in zip(ids, ends, strict=True)),
    )
    with ShardReader(path) as shard:
        assert (shard.ids, shard.notes, shard.sources, shard.media) == (ids, ends, ends, [""] * len(ends))


@pytest.fixture(scope="module")
def intact_shard(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, range]:
    """An intact shard, and the byte range of its twelve values in the file."""
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    path = write_shard(tmp_path_factory.mktemp("intact") / "s.h5", make_entry("a", values))
    assert verify_shard(path) == []
    with h5py.File(path) as file:
        begin, size = file["values"].id.get_offset(), file["values"].id.get_storage_size()
    assert size == 2 * 12
    return path, range(begin, begin + size)


@given(byte=st.integers(0, 2 * 12 - 1), bit=st.integers(0, 7))
def test_every_flipped_bit_of_the_values_is_detected(intact_shard: tuple[Path, range], byte: int, bit: int) -> None:
    path, extents = intact_shard
    content = bytearray(path.read_bytes())
    content[extents[byte]] ^= 1 << bit
    damaged = path.with_name("damaged.h5")
    damaged.write_bytes(content)
    assert verify_shard(damaged)
    write_seal(damaged)
    assert "checksum" in verify_shard(damaged)[0]
