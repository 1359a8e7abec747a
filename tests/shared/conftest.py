"""Edited HDF5 files with a valid seal, as an attacker who has foal's source could create them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import h5py
import pytest

from foal.shared.hdf5.seal import write_seal


@pytest.fixture
def edit_sealed() -> Callable[[Path], AbstractContextManager[h5py.File]]:
    """`with edit_sealed(path) as file:` edits an HDF5 file of foal and writes a valid seal."""

    @contextmanager
    def edit(path: Path) -> Iterator[h5py.File]:
        with h5py.File(path, "r+") as file:
            yield file
        write_seal(path)

    return edit
