"""What the tests of the store need: files of ours altered and sealed anew, as somebody with foal's source could."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import h5py
import pytest

from foal.shared.hdf5.seal import write_seal


@pytest.fixture
def altered() -> Callable[[Path], AbstractContextManager[h5py.File]]:
    """`with altered(path) as file:` to change an HDF5 file of ours, which then has a seal that is right."""

    @contextmanager
    def open_to_alter(path: Path) -> Iterator[h5py.File]:
        with h5py.File(path, "r+") as file:
            yield file
        write_seal(path)

    return open_to_alter
