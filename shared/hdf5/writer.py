"""Writes HDF5 files on disks that may be full: write errors are kept from HDF5, and raised at the end."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py


@contextmanager
def create_hdf5(path: Path) -> Iterator[h5py.File]:
    """Create an HDF5 file. Raises OSError when it is closed, if the disk refused any part of it.

    After an error HDF5 itself would repeat its writes: h5py then raises RuntimeError, and prints tracebacks that cannot
    be caught when its objects are garbage-collected.
    """
    disk = _ErrorLatchingFile(path)
    try:
        with h5py.File(disk, "w") as file:
            yield file
        if disk.refused is not None:
            raise disk.refused
    finally:
        disk.file.close()


class _ErrorLatchingFile(io.RawIOBase):
    """A file that accepts every write, and keeps the first error in `refused`."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb+", buffering=0)
        self.refused: OSError | None = None

    def readinto(self, buffer: Any) -> int:
        return self.file.readinto(buffer)

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def write(self, content: Any) -> int:
        rest = memoryview(content).cast("B")
        size = len(rest)
        try:
            # A call may write only a part, and never more than 2 GB.
            while len(rest) and self.refused is None:
                rest = rest[self.file.write(rest) :]
        except OSError as error:
            self.refused = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return self.file.truncate(size)
        except OSError as error:
            self.refused = self.refused or error
            return size or 0
