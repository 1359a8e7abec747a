"""The seal: a line after a file's content that detects every change."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from foal.shared.errors import StoreError
from foal.shared.hdf5.seal import (
    SEAL_SIZE,
    are_tables_intact,
    is_intact,
    open_regular,
    read_seal,
    write_seal,
    write_tables_line,
)

CONTENT = b"content of a file" * 9


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    path = tmp_path / "sealed"
    path.write_bytes(CONTENT)
    write_seal(path)
    return path


@contextmanager
def open_handle(path: Path) -> Iterator[int]:
    handle = open_regular(path)
    try:
        yield handle
    finally:
        os.close(handle)


def verifies(path: Path) -> bool:
    with open_handle(path) as handle:
        seal = read_seal(handle)
        return seal is not None and is_intact(handle, seal)


def test_a_seal_is_a_line_after_the_content_and_is_written_once(sealed: Path) -> None:
    before = sealed.read_bytes()
    assert before[:-SEAL_SIZE] == CONTENT
    assert before[-SEAL_SIZE:].startswith(b"\nfoal-seal 01 %016x " % len(CONTENT))
    assert verifies(sealed)
    write_seal(sealed)
    assert sealed.read_bytes() == before


def test_every_flipped_bit_of_content_or_seal_is_detected(sealed: Path) -> None:
    content = bytearray(sealed.read_bytes())
    for byte in range(len(content)):
        for bit in range(8):
            content[byte] ^= 1 << bit
            sealed.write_bytes(content)
            content[byte] ^= 1 << bit
            assert not verifies(sealed)


@pytest.mark.parametrize("length", [0, 1, SEAL_SIZE - 1, SEAL_SIZE, len(CONTENT), len(CONTENT) + SEAL_SIZE - 1])
def test_a_truncated_file_has_no_seal(sealed: Path, length: int) -> None:
    os.truncate(sealed, length)
    assert not verifies(sealed)


def test_the_bytes_read_are_reported(sealed: Path) -> None:
    counts: list[int] = []
    with open_handle(sealed) as handle:
        seal = read_seal(handle)
        assert seal is not None
        assert is_intact(handle, seal, counts.append)
    assert sum(counts) == len(CONTENT)


def test_tables_are_verified_without_the_values_between_them(tmp_path: Path) -> None:
    path, values = tmp_path / "sealed", [(40, 60), (10, 30)]
    path.write_bytes(CONTENT)
    write_tables_line(path, values)
    write_seal(path)
    assert verifies(path)
    content = bytearray(path.read_bytes())
    counts: list[int] = []
    for at in range(len(CONTENT)):
        content[at] ^= 1
        path.write_bytes(content)
        content[at] ^= 1
        with open_handle(path) as handle:
            seal = read_seal(handle)
            assert seal is not None
            counts.clear()
            assert are_tables_intact(handle, seal, values, counts.append) == (10 <= at < 30 or 40 <= at < 60)
            assert sum(counts) == len(CONTENT) - 40
    path.write_bytes(content)
    with open_handle(path) as handle:
        seal = read_seal(handle)
        assert seal is not None
        assert not are_tables_intact(handle, seal, [(10, 30)])


def test_a_file_without_a_hash_of_its_tables_is_not_refused(sealed: Path) -> None:
    with open_handle(sealed) as handle:
        seal = read_seal(handle)
        assert seal is not None
        assert are_tables_intact(handle, seal, [(0, 9)])


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(StoreError, match="expected a regular file"):
            open_regular(path)
