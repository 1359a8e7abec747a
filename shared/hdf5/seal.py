"""The seal: a checksum line behind the HDF5 content of every file that foal writes.

HDF5 does not checksum all of its metadata: of 1,500 files with one flipped bit it read 59 without an error, but
wrongly. The seal covers every byte before it.
"""

import os
import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import xxhash

from ..errors import StoreError

SEAL_SIZE = 64
"""Bytes of the line: name and version, then the length and the hash of the sealed bytes as hexadecimal digits."""

_LINE = re.compile(rb"\nfoal-seal 01 ([0-9a-f]{16}) ([0-9a-f]{32})\n")
_TABLES_LINE = re.compile(rb"\nfoal-tables 01 ([0-9a-f]{32})\n")
_TABLES_LINE_SIZE = 49
_BUFFER_BYTES = 1 << 20

ByteRange = tuple[int, int]
"""The first byte of a part of a file, and the one after its last."""

BytesRead = Callable[[int], object]
"""A progress callback: called repeatedly with the number of bytes read since the last call."""


class Seal(NamedTuple):
    """The content of a seal: number of sealed bytes, and their XXH3-128."""

    length: int
    digest: str


def open_regular(path: Path) -> int:
    """Open a regular file for reading and return its descriptor; never wait for a pipe or a device.

    Raises StoreError for anything but a regular file, OSError as `os.open` does.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise StoreError(f"{path}: expected a regular file, got a folder, a pipe or a device")
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise StoreError(f"{path}: expected a regular file; it was replaced while it was opened")
    return handle


def write_tables_line(path: Path, values: Sequence[ByteRange]) -> None:
    """Append the hash of everything but `values` to a finished file that is not sealed yet.

    `values` are large tables, each part of which has its own checksum. The rest can then be verified without reading
    them.
    """
    with path.open("rb+", buffering=0) as file:
        length = file.seek(0, os.SEEK_END)
        file.write(b"\nfoal-tables 01 %s\n" % _digest(file.fileno(), length, without=values).encode())


def write_seal(path: Path) -> None:
    """Seal a finished file, or renew its seal."""
    with path.open("rb+", buffering=0) as file:
        seal = read_seal(file.fileno())
        length = os.fstat(file.fileno()).st_size if seal is None else seal.length
        line = b"%sfoal-seal 01 %016x %s\n" % (b"\n", length, _digest(file.fileno(), length).encode())
        file.truncate(length)
        file.seek(length)
        file.write(line)


def read_seal(handle: int) -> Seal | None:
    """The seal at the end of an open file; None if it is missing or contains another length."""
    end = os.fstat(handle).st_size - SEAL_SIZE
    line = _LINE.fullmatch(os.pread(handle, SEAL_SIZE, end)) if end >= 0 else None
    return Seal(end, line[2].decode()) if line is not None and int(line[1], 16) == end else None


def is_intact(handle: int, seal: Seal, on_bytes: BytesRead = lambda count: None) -> bool:
    """Whether the content of an open file, read completely, matches its seal."""
    return _digest(handle, seal.length, on_bytes) == seal.digest


def are_tables_intact(
    handle: int, seal: Seal, values: Sequence[ByteRange], on_bytes: BytesRead = lambda count: None
) -> bool:
    """Whether everything but `values` matches the line of `write_tables_line`; True for a file without this line."""
    length = seal.length - _TABLES_LINE_SIZE
    line = _TABLES_LINE.fullmatch(os.pread(handle, _TABLES_LINE_SIZE, length)) if length >= 0 else None
    return line is None or _digest(handle, length, on_bytes, without=values) == line[1].decode()


def _digest(
    handle: int, length: int, on_bytes: BytesRead = lambda count: None, *, without: Sequence[ByteRange] = ()
) -> str:
    """XXH3-128 of the first `length` bytes but those `without`, in hexadecimal; other threads run meanwhile."""
    digest = xxhash.xxh3_128()
    buffer = memoryview(bytearray(min(_BUFFER_BYTES, max(length, 1))))
    position = 0
    for start, end in (*sorted(without), (length, length)):
        while position < start:
            count = os.preadv(handle, [buffer[: min(len(buffer), start - position)]], position)
            if count == 0:
                break  # the file became shorter: the digest will differ
            digest.update(buffer[:count])
            position += count
            on_bytes(count)
        position = max(position, end)
    return str(digest.hexdigest())
