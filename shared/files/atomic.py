"""Writes files completely or not at all."""

import csv
import errno
import glob
import os
import re
import shutil
import socket
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from rich.filesize import decimal

from ..errors import FoalError

TEMPORARY_PREFIX = ".tmp-"

_PID = re.compile("[0-9]{1,9}")
"""Digits of a process id."""


@contextmanager
def replaced_atomically(path: Path) -> Iterator[Path]:
    """Write a file atomically: yields a temporary path next to `path`, which replaces `path` if the block succeeds.

    The data is flushed to the disk before the file is renamed: after a power cut there is the old file or the new one.
    Raises FoalError if the file cannot be written.
    """
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise FoalError(f"{path}: cannot be written: {_why(error)}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def temporary_name(path: Path) -> Path:
    """A hidden name next to `path` with the host and the process that write it."""
    if not path.name:
        raise FoalError(f"{path}: expected the name of a file or folder to write")
    return path.with_name(f"{TEMPORARY_PREFIX}{socket.gethostname()}~{os.getpid()}~{path.name}")


def remove(path: Path) -> None:
    """Remove a file if it exists. Raises FoalError if it cannot be removed."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise FoalError(f"{path}: cannot be removed: {error.strerror}") from error


def stale_temporaries(features: Path, *, locked: bool = False) -> list[Path]:
    """Temporary files of killed runs, in the features folder and two levels below it; see `temporary_is_stale`."""
    temporaries = [
        path for depth in ("", "*/", "*/*/") for path in sorted(features.glob(f"{depth}{TEMPORARY_PREFIX}*"))
    ]
    return [path for path in temporaries if path.is_file() and temporary_is_stale(path, locked=locked)]


def remove_stale_temporaries(
    features: Path, index: Path | None = None, *, names: Container[str] | None = None, locked: bool = False
) -> None:
    """Remove stale temporary files of the features folder and of the index, as far as possible.

    Args:
        features: the features folder.
        index: the index that a command writes.
        names: only temporary files of files with these names.
        locked: the caller holds the folder (with `names`: these files), so that temporary files of other hosts are
            stale as well.
    """
    stale = [path for path in stale_temporaries(features, locked=locked) if names is None or _target(path) in names]
    for path in stale + (_stale_of(index) if index is not None else []):
        with suppress(OSError):
            path.unlink()


def _stale_of(path: Path) -> list[Path]:
    """Temporary files of one file that killed runs of this machine left behind."""
    temporaries = sorted(path.parent.glob(f"{TEMPORARY_PREFIX}*~{glob.escape(path.name)}"))
    # A file may itself be called other~feats.h5.
    return [file for file in temporaries if _target(file) == path.name and temporary_is_stale(file)]


def _target(temporary: Path) -> str:
    """The name of the file that a temporary file was to replace."""
    return temporary.name.partition("~")[2].partition("~")[2]


def temporary_is_stale(path: Path, *, locked: bool = False) -> bool:
    """Whether a temporary file belongs to a process of this machine that has ended or, if `locked`, to another machine.

    With the folder locked, no process of another machine writes to it.
    """
    host, _, rest = path.name.removeprefix(TEMPORARY_PREFIX).partition("~")
    pid = rest.partition("~")[0]
    if _PID.fullmatch(pid) is None:
        return False
    if host != socket.gethostname():
        return locked
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return int(pid) == os.getpid()


def _why(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{os.strerror(error.errno)}; finished work is kept: free some space, then rerun the same command"
    # HDF5 raises OSError with a text of its own.
    return os.strerror(error.errno) if error.errno else str(error)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


SPARE_BYTES = 16 << 20
"""Space beyond the features, for tables, temporary files and the index."""


def check_disk_space(features: Path, needed: float) -> None:
    """Raise FoalError unless the file system of the features folder has `needed` bytes and SPARE_BYTES left."""
    folder = features.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise FoalError(
            f"{features}: expected {decimal(round(needed) + SPARE_BYTES)} of free space, got {decimal(free)}; "
            "free some space, choose another --features-dir or extract fewer splits (`--dry-run` shows the sizes)"
        )


def write_rows(file: TextIO, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a header and rows as CSV, with newlines as line ends."""
    plain, quoting = (csv.writer(file, lineterminator="\n", quoting=how) for how in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    plain.writerow(header)
    for row in rows:
        # csv quotes a carriage return only if it is the line end, but always reads it as the end of a row.
        returns = any(isinstance(cell, str) and "\r" in cell for cell in row)
        (quoting if returns else plain).writerow(row)
