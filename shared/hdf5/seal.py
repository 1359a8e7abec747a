"""The seal: a checksum line behind the HDF5 content of every file that foal writes.

HDF5 does not checksum all of its metadata: of 1,500 files with one flipped bit it read 59 without an error, but
wrongly. The seal covers every byte before it.
"""

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import xxhash

from ..errors import StoreError

SEAL_SIZE = 64
"""Bytes of the line: name and version, then the length and the hash of the sealed bytes as hexadecimal digits."""

_LINE = re.compile(rb"\nfoal-seal 01 ([0-9a-f]{16}) ([0-9a-f]{32})\n")
_BUFFER_BYTES = 1 << 20

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


def _digest(handle: int, length: int, on_bytes: BytesRead = lambda count: None) -> str:
    """XXH3-128 of the first `length` bytes, in hexadecimal; other threads run meanwhile."""
    digest = xxhash.xxh3_128()
    buffer = memoryview(bytearray(min(_BUFFER_BYTES, max(length, 1))))
    position = 0
    while position < length:
        count = os.preadv(handle, [buffer[: min(len(buffer), length - position)]], position)
        if count == 0:
            break  # the file became shorter: the digest will differ
        digest.update(buffer[:count])
        position += count
        on_bytes(count)
    return str(digest.hexdigest())
