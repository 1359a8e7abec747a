"""Opening HDF5 files of ours, and refusing all others in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from .errors import StoreError


def open_hdf5(path: Path, *, kind: str, version: int, missing: str) -> h5py.File:
    """Open a file that says to be of `kind` and `version`; the caller closes it.

    Raises StoreError: the file is missing (and `missing` says what to do), damaged, foreign, or from a newer foal.
    """
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise StoreError(f"{path}: {missing}") from None
    except OSError as error:
        raise StoreError(f"{path}: expected a {kind} file, got one that HDF5 cannot open ({error})") from None
    try:
        with damage_named(path, "an unreadable header"):
            found, found_version = file.attrs.get("format"), file.attrs.get("version")
            if found != kind:
                raise StoreError(f"{path}: expected a file of format {kind}, got {found!r}")
            if found_version != version:
                remedy = "update foal" if found_version > version else "it is from an older foal: make it anew"
                raise StoreError(f"{path}: {kind} version {found_version}, this foal reads {version}; {remedy}")
    except StoreError:
        file.close()
        raise
    return file


@contextmanager
def damage_named(path: Path, remedy: str) -> Iterator[None]:
    """Turn what h5py, NumPy and json raise over damaged content into a StoreError that names the file."""
    try:
        yield
    except (KeyError, TypeError, ValueError, OSError, AttributeError, RuntimeError) as error:
        raise StoreError(f"{path}: damaged ({error}); {remedy}") from None
