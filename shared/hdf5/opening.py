"""Opens sealed HDF5 files, and rejects all others with a one-line error."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import h5py

from ..errors import StoreError
from ..text import quoted, shortened
from .checked_reader import ValidatedGroup
from .group_check import check_object_header
from .seal import ByteRange, BytesRead, Seal, are_tables_intact, is_intact, open_regular, read_seal

MAX_ERROR_LENGTH = 400
DAMAGE = (LookupError, TypeError, ValueError, ArithmeticError, OSError, AttributeError, RuntimeError)
"""The exceptions of h5py, NumPy and json over damaged content."""


class FutureError(StoreError):
    """An intact shard or feats.h5 of a newer version of foal; it must not be replaced or removed."""


@dataclass(frozen=True, kw_only=True)
class FileFormat:
    """A kind of file and the version of it that this code reads.

    `name` is the file's attribute `format`; `label` is the name in messages; `missing`, `damaged` and `older` are
    the remedies for such a file.
    """

    name: str
    version: int
    label: str
    missing: str
    damaged: str
    older: str


class FileIdentity(NamedTuple):
    """The identifying attributes of any HDF5 file; None for those that are absent or unreadable."""

    format: str | None
    version: int | None
    modality: str | None
    config_hash: str | None
    config: str | None
    utterances: int
    """Number of ids in the file; 0 if unknown."""


def open_hdf5(
    path: Path, file_format: FileFormat, *, verify_up_to_bytes: float = 0, on_bytes: BytesRead = lambda count: None
) -> ValidatedGroup:
    """Open a sealed file; the caller closes the returned root group.

    Args:
        path: the file.
        file_format: the kind and version that it must have.
        verify_up_to_bytes: read files of at most this size completely and compare them with their seal, before HDF5
            opens them. Of larger files, only the presence and the length of the seal are checked.
        on_bytes: called with the number of bytes read.

    Raises:
        StoreError: the file is missing, damaged, of another kind, or of an older version of foal.
        FutureError: the file is of a newer version of foal.
    """
    with _opened(path, file_format) as handle:
        seal = read_seal(handle)
        if seal is None:
            raise _unsealed(path, file_format)
        whole = seal.length <= verify_up_to_bytes
        if whole:
            _check(path, handle, seal, file_format, on_bytes)
        try:
            return _open_sealed(path, seal, file_format)
        except StoreError:
            # Damage takes precedence over any error that HDF5 reports for the damaged content.
            if not whole:
                _check(path, handle, seal, file_format, on_bytes)
            raise


def verify_seal(
    path: Path,
    file_format: FileFormat,
    *,
    above_bytes: float,
    values: Sequence[ByteRange] = (),
    on_bytes: BytesRead = lambda count: None,
) -> None:
    """Compare a file of more than `above_bytes`, which `open_hdf5` did not verify, with its seal.

    `values` are parts of the file that have checksums of their own, and are not read.

    Raises StoreError if it is damaged.
    """
    with _opened(path, file_format) as handle:
        seal = read_seal(handle)
        if seal is None:
            raise _unsealed(path, file_format)
        if seal.length > above_bytes:
            _check(path, handle, seal, file_format, on_bytes, values=values)


def sniff(path: Path) -> FileIdentity | None:
    """Identify an HDF5 file of any version of foal, or of any other program; None for other files.

    Raises OSError where the system refuses to open the file, StoreError for anything but a regular file.
    """
    os.close(open_regular(path))
    try:
        file = h5py.File(path, "r")
    except (OSError, RuntimeError, ValueError, KeyError):
        return None
    with file:
        version = _scalar_attribute(file, "version")
        # Before shard format 4 the hash was called `key`.
        config_hash = _text_attribute(file, "config_hash") or _text_attribute(file, "key")
        return FileIdentity(
            format=_text_attribute(file, "format"),
            version=version if isinstance(version, int) else None,
            modality=_text_attribute(file, "modality"),
            config_hash=config_hash,
            config=_text_attribute(file, "config"),
            utterances=_table_length(file.id, b"ids"),
        )


@contextmanager
def wrap_as_store_error(path: Path, remedy: str) -> Iterator[None]:
    """Turn the exceptions of h5py, NumPy and json over damaged content into a StoreError that names the file."""
    try:
        yield
    except DAMAGE as error:
        raise damaged(path, error, remedy) from None


def damaged(path: Path, error: Exception, remedy: str) -> StoreError:
    """The StoreError for an exception over damaged content."""
    return StoreError(f"{path}: damaged ({shortened(str(error), MAX_ERROR_LENGTH)}); {remedy}")


@contextmanager
def _opened(path: Path, file_format: FileFormat) -> Iterator[int]:
    try:
        handle = open_regular(path)
    except FileNotFoundError:
        raise StoreError(f"{path}: {file_format.missing}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise StoreError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        yield handle
    finally:
        os.close(handle)


def _check(
    path: Path,
    handle: int,
    seal: Seal,
    file_format: FileFormat,
    on_bytes: BytesRead,
    *,
    values: Sequence[ByteRange] = (),
) -> None:
    with wrap_as_store_error(path, file_format.damaged):
        intact = are_tables_intact(handle, seal, values, on_bytes) if values else is_intact(handle, seal, on_bytes)
        if not intact:
            raise StoreError(f"{path}: damaged (the content does not match its checksum); {file_format.damaged}")


def _open_sealed(path: Path, seal: Seal, file_format: FileFormat) -> ValidatedGroup:
    try:
        file = h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDONLY, _access())
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise StoreError(
            f"{path}: expected a {file_format.name} file, got one that HDF5 cannot open ({error})"
        ) from None
    try:
        with wrap_as_store_error(path, f"expected a file of format {file_format.name}"):
            root = ValidatedGroup.root(file, seal.length)
            name, version = root.text("format"), root.integer("version")
        if name != file_format.name:
            raise StoreError(f"{path}: expected a file of format {file_format.name}, got {quoted(name)}")
        if version != file_format.version:
            raise _other_version(path, version, file_format)
    except StoreError:
        file.close()
        raise
    return root


@cache
def _access() -> Any:
    """File access as in h5py.File: closing the file closes its open groups, too."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    return access


def _unsealed(path: Path, file_format: FileFormat) -> StoreError:
    """The error for a file without a seal: another version, another kind, or a damaged file."""
    identity = None
    with suppress(OSError, StoreError):
        identity = sniff(path)
    if identity is None:
        return StoreError(
            f"{path}: expected a {file_format.name} file, got one that is truncated or not HDF5; {file_format.damaged}"
        )
    if identity.format != file_format.name:
        return StoreError(f"{path}: expected a file of format {file_format.name}, got {quoted(identity.format)}")
    if identity.version is not None and identity.version != file_format.version:
        return _other_version(path, identity.version, file_format)
    return StoreError(f"{path}: damaged (the checksum line at the end is missing or invalid); {file_format.damaged}")


def _other_version(path: Path, version: int, file_format: FileFormat) -> StoreError:
    """The error for a file of another version; formats before the present ones were written by foal 0.1."""
    reads = f"this version reads format {file_format.version}"
    if version > file_format.version:
        return FutureError(
            f"{path}: {file_format.label} format {version} (written by a newer version of foal); {reads}; update foal"
        )
    return StoreError(f"{path}: {file_format.label} format {version} (foal 0.1); {reads}; {file_format.older}")


def _table_length(file: Any, name: bytes) -> int:
    """The length of a table that is stored in the file itself; links are not followed."""
    try:
        check_object_header(h5py.h5g.open(file, b"/"), file.get_filesize())
        if file.links.get_info(name).type != h5py.h5l.TYPE_HARD:
            return 0
        shape = h5py.h5d.open(file, name).shape
    except (LookupError, TypeError, ValueError, OSError, RuntimeError):
        return 0
    # None: a null dataspace.
    return int(shape[0]) if shape is not None and len(shape) == 1 else 0


def _text_attribute(file: h5py.File, name: str) -> str | None:
    value = _scalar_attribute(file, name)
    return value if isinstance(value, str) else None


def _scalar_attribute(file: h5py.File, name: str) -> str | int | None:
    """An attribute, if it is a single text or integer."""
    try:
        attribute = h5py.h5a.open(file.id, name.encode())
        if attribute.get_space().get_simple_extent_type() != h5py.h5s.SCALAR:
            return None
        value = file.attrs[name]
        value = value.decode() if isinstance(value, bytes) else value
    except (LookupError, TypeError, ValueError, OSError, RuntimeError):
        return None
    if isinstance(value, str):
        return value
    return int(value) if getattr(value, "dtype", None) in ("int64", "int32") else None
