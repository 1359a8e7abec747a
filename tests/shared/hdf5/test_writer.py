"""Writing HDF5 files, with and without errors of the disk."""

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from foal.shared.hdf5.writer import create_hdf5


@pytest.fixture
def small_files() -> Iterator[int]:
    """The maximum size of a file in bytes, enforced by the operating system."""
    before, limit = resource.getrlimit(resource.RLIMIT_FSIZE), 100_000
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield limit
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_written_files_are_readable_with_h5py(tmp_path: Path) -> None:
    with create_hdf5(tmp_path / "a.h5") as file:
        file["values"] = np.arange(9)
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["values"], np.arange(9))


def test_a_write_error_is_raised_when_the_file_is_closed(tmp_path: Path, small_files: int) -> None:
    with pytest.raises(OSError, match="File too large"), create_hdf5(tmp_path / "a.h5") as file:
        file.update(values=np.zeros(small_files, np.int64), more=np.zeros(9))
