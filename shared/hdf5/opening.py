"""Opening HDF5 files of ours, and refusing all others in one sentence."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import h5py

from ..errors import StoreError
from ..text import quoted, shortened
from .checked_reader import ValidatedGroup
from .group_check import check_object_header
from .seal import BytesRead, Seal, is_intact, newer_seal, open_regular, read_seal


class FutureError(StoreError):
    """A shard or feats.h5 that a newer foal wrote, in perfect order: nobody may replace or remove it."""


class FileIdentity(NamedTuple):
    """What an HDF5 file says of itself, whoever wrote it; None where it says nothing that can be read."""

    format: str | None
    version: int | None
    modality: str | None
    config_hash: str | None
    config: str | None
    utterances: int
    """As many as it names; 0 where that cannot be told."""


def open_hdf5(
    path: Path,
    *,
    kind: str,
    version: int,
    missing: str,
    remedy: str,
    verify_up_to_bytes: float = 0,
    on_bytes: BytesRead = lambda count: None,
) -> ValidatedGroup:
    """Open a sealed file that says to be of `kind` and `version`; the caller closes it.

    The whole seal of a file of at most `verify_up_to_bytes` bytes is checked before HDF5 opens it; `on_bytes` gets the
    number of bytes read. Of a larger file only the presence and the length of the seal are checked.

    Raises StoreError for a file that is missing (`missing` tells the user what to do), damaged (`remedy`) or foreign,
    and FutureError for one that a newer foal wrote.
    """
    with _opened(path, missing) as handle:
        seal = read_seal(handle)
        if seal is None:
            if newer := newer_seal(handle):
                raise FutureError(f"{path}: sealed in version {newer}, this foal reads 1; update foal")
            raise _unsealed(path, kind, version, remedy)
        whole = seal.length <= verify_up_to_bytes
        if whole:
            _check(path, handle, seal, remedy, on_bytes)
        try:
            return _open_sealed(path, seal, kind, version)
        except StoreError:
            if not whole:
                _check(path, handle, seal, remedy, on_bytes)
            raise


def sniff(path: Path) -> FileIdentity | None:
    """What a file says of itself, were it of another foal; None for what is no HDF5 file. Raises OSError, StoreError.

    Only the system's refusals are raised as OSError.
    """
    os.close(open_regular(path))
    try:
        file = h5py.File(path, "r")
    except (OSError, RuntimeError, ValueError, KeyError):
        return None
    with file:
        version = _said(file, "version")
        texts = {name: _said(file, name) for name in ("format", "modality", "config_hash", "config")}
        # Shards of format 3 and older call it `key`.
        texts["config_hash"] = _said(file, "key") if texts["config_hash"] is None else texts["config_hash"]
        return FileIdentity(
            version=version if isinstance(version, int) else None,
            utterances=_count(file.id, b"ids"),
            **{name: text if isinstance(text, str) else None for name, text in texts.items()},
        )


@contextmanager
def wrap_as_store_error(path: Path, remedy: str) -> Iterator[None]:
    """Turn what h5py, NumPy and json raise over damaged content into a StoreError that names the file."""
    try:
        yield
    except (LookupError, TypeError, ValueError, ArithmeticError, OSError, AttributeError, RuntimeError) as error:
        raise StoreError(f"{path}: damaged ({shortened(str(error), 400)}); {remedy}") from None


@contextmanager
def _opened(path: Path, missing: str) -> Iterator[int]:
    try:
        handle = open_regular(path)
    except FileNotFoundError:
        raise StoreError(f"{path}: {missing}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise StoreError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        yield handle
    finally:
        os.close(handle)


def _check(path: Path, handle: int, seal: Seal, remedy: str, on_bytes: BytesRead) -> None:
    with wrap_as_store_error(path, remedy):
        if not is_intact(handle, seal, on_bytes):
            raise StoreError(f"{path}: damaged (its bytes do not match their seal); {remedy}")


def _open_sealed(path: Path, seal: Seal, kind: str, version: int) -> ValidatedGroup:
    try:
        file = h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDONLY, _access())
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise StoreError(f"{path}: expected a {kind} file, got one that HDF5 cannot open ({error})") from None
    try:
        with wrap_as_store_error(path, f"expected a file of format {kind}"):
            root = ValidatedGroup.root(file, seal.length)
            found, found_version = root.text("format"), root.integer("version")
        if found != kind:
            raise StoreError(f"{path}: expected a file of format {kind}, got {quoted(found)}")
        if found_version != version:
            raise _other_version(path, kind, found_version, version)
    except StoreError:
        file.close()
        raise
    return root


@cache
def _access() -> Any:
    """A closed file is closed, were one of its groups still in somebody's hands; as h5py's own files."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    return access


def _unsealed(path: Path, kind: str, version: int, remedy: str) -> StoreError:
    """What is wrong with a file that has no seal: it is of another foal, foreign, or has lost it."""
    claim = None
    with suppress(OSError, StoreError):
        claim = sniff(path)
    if claim is None:
        return StoreError(
            f"{path}: expected a {kind} file, got one that is cut short or that HDF5 cannot open; {remedy}"
        )
    if claim.format != kind:
        return StoreError(f"{path}: expected a file of format {kind}, got {quoted(claim.format)}")
    if claim.version is not None and claim.version != version:
        return _other_version(path, kind, claim.version, version)
    return StoreError(f"{path}: damaged (its last line, the seal, is missing or wrong); {remedy}")


def _other_version(path: Path, kind: str, found: int, version: int) -> StoreError:
    said = f"{path}: {kind} version {found}, this foal reads {version}"
    if found > version:
        return FutureError(f"{said}; update foal")
    return StoreError(f"{said}; it is from an older foal: make it anew")


def _count(file: Any, name: bytes) -> int:
    """The length of a table that is stored in the file itself; to follow a link could take forever."""
    try:
        check_object_header(h5py.h5g.open(file, b"/"), file.get_filesize())
        if file.links.get_info(name).type != h5py.h5l.TYPE_HARD:
            return 0
        shape = h5py.h5d.open(file, name).shape
    except (LookupError, TypeError, ValueError, OSError, RuntimeError):
        return 0
    # None: a table without a form.
    return int(shape[0]) if shape is not None and len(shape) == 1 else 0


def _said(file: h5py.File, name: str) -> str | int | None:
    """An attribute of a file of any age, if it is one number or text."""
    try:
        attribute = h5py.h5a.open(file.id, name.encode())
        if attribute.get_space().get_simple_extent_type() != h5py.h5s.SCALAR:
            return None
        said = file.attrs[name]
        said = said.decode() if isinstance(said, bytes) else said
    except (LookupError, TypeError, ValueError, OSError, RuntimeError):
        return None
    return said if isinstance(said, str) else int(said) if getattr(said, "dtype", None) in ("int64", "int32") else None
