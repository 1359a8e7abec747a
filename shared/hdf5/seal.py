"""The seal: a last line behind the HDF5 content of our files, by which every bit of them is known to be right."""

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import xxhash

from ..errors import StoreError

SEAL_SIZE = 64
"""Bytes of the line: its name and version, the length of what it seals and the hash of that, in hexadecimal digits."""

SEAL_NAME = b"\nfoal-seal "
_LINE = re.compile(rb"\nfoal-seal 01 ([0-9a-f]{16}) ([0-9a-f]{32})\n")
_VERSION = re.compile(rb"\nfoal-seal ([0-9]{2})")
_PIECE = 1 << 20

BytesRead = Callable[[int], object]
"""Called now and then with the number of bytes that were read since."""


class Seal(NamedTuple):
    """What a file's last line says: the bytes before it, and their XXH3 of 128 bits."""

    length: int
    digest: str


def open_regular(path: Path) -> int:
    """Open a file to read, for its descriptor; a pipe or a device is never waited for.

    Raises StoreError for all but regular files, OSError as `os.open` does.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise StoreError(f"{path}: expected a regular file, got a folder, a pipe or a device")
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise StoreError(f"{path}: expected a regular file, got another in its place meanwhile")
    return handle


def write_seal(path: Path) -> None:
    """Seal a finished file; a seal that it has is replaced."""
    with path.open("rb+", buffering=0) as file:
        seal = read_seal(file.fileno())
        length = os.fstat(file.fileno()).st_size if seal is None else seal.length
        line = b"%sfoal-seal 01 %016x %s\n" % (b"\n", length, _digest(file.fileno(), length).encode())
        file.truncate(length)
        file.seek(length)
        file.write(line)


def read_seal(handle: int) -> Seal | None:
    """The seal at the end of an open file, if there is one that fits the file's length."""
    end = os.fstat(handle).st_size - SEAL_SIZE
    line = _LINE.fullmatch(os.pread(handle, SEAL_SIZE, end)) if end >= 0 else None
    return Seal(end, line[2].decode()) if line is not None and int(line[1], 16) == end else None


def newer_seal(handle: int) -> int | None:
    """The version of an open file's seal if a newer foal wrote it, in whatever form; else None.

    One flipped bit makes another number of ours, too; the hash is then still right.
    """
    end = os.fstat(handle).st_size - SEAL_SIZE
    line = os.pread(handle, SEAL_SIZE, end) if end >= 0 else b""
    found = _VERSION.match(line)
    if found is None or int(found[1]) <= 1:
        return None
    ours = _LINE.fullmatch(line[: found.start(1)] + b"01" + line[found.end(1) :])
    flipped = _bits_apart(found[1], b"01") == 1 and ours is not None and _digest(handle, end) == ours[2].decode()
    return None if flipped else int(found[1])


def is_intact(handle: int, seal: Seal, on_bytes: BytesRead = lambda count: None) -> bool:
    """Whether an open file is what its seal says, read to its last byte."""
    return _digest(handle, seal.length, on_bytes) == seal.digest


def bears_seal(handle: int) -> bool:
    """Whether an open file's end looks like a seal, were it damaged: then it is, or was, one of our files."""
    end = os.fstat(handle).st_size - SEAL_SIZE
    line = os.pread(handle, SEAL_SIZE, end) if end >= 0 else b""
    # One bit of the name itself may have flipped, too.
    return _bits_apart(line, SEAL_NAME) <= 1 and bool(line)


def _bits_apart(one: bytes, other: bytes) -> int:
    return sum((a ^ b).bit_count() for a, b in zip(one, other, strict=False))


def _digest(handle: int, length: int, on_bytes: BytesRead = lambda count: None) -> str:
    """XXH3 of the first `length` bytes, in hex, read piece by piece; other threads run meanwhile."""
    digest, piece, at = xxhash.xxh3_128(), memoryview(bytearray(min(_PIECE, max(length, 1)))), 0
    while at < length:
        count = os.preadv(handle, [piece[: min(len(piece), length - at)]], at)
        if count == 0:
            break  # it became shorter: the hash will say so
        digest.update(piece[:count])
        at += count
        on_bytes(count)
    return str(digest.hexdigest())
