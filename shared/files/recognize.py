"""What a file is that was expected to be something else: a Git LFS pointer, or a table that is not a CSV in UTF-8."""

import os
from contextlib import suppress
from pathlib import Path

LFS_REMEDY = "fetch the files with `git lfs pull`"
MAX_LFS_BYTES = 1024
"""A Git LFS pointer is smaller (git-lfs/docs/spec.md)."""

_LFS_BEGINNING = b"version https://git-lfs"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def is_lfs_pointer(path: str | os.PathLike[str], size: int | None = None) -> bool:
    """Whether a regular file is the pointer that Git LFS leaves in the place of a file that was not fetched.

    Args:
        path: the file.
        size: its size in bytes, if known; a larger file is not read.
    """
    with suppress(OSError):
        if (os.stat(path).st_size if size is None else size) <= MAX_LFS_BYTES:
            with open(path, "rb") as file:
                return file.read(len(_LFS_BEGINNING)) == _LFS_BEGINNING
    return False


def is_utf_16(path: Path) -> bool:
    """Whether a file begins with the byte order mark of UTF-16, as Excel's "Unicode text" does."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(2) in _UTF_16
    return False


def table_problem(path: Path) -> str:
    """What a file is that cannot be read as CSV in UTF-8, as "got ...; remedy"; "" if nothing is recognized."""
    if is_lfs_pointer(path):
        return f"got a Git LFS pointer instead of the file itself; {LFS_REMEDY}"
    if is_utf_16(path):
        return "got UTF-16; save it as CSV UTF-8"
    return ""


def delimiter(header: str) -> str:
    """The character that separates the columns of a header: comma, semicolon or tab, whichever is most frequent."""
    return max(",;\t", key=header.count)


DELIMITER_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}
