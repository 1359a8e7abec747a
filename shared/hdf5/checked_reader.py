"""Reading HDF5 files that may come from anybody: nothing that points elsewhere, nothing larger than the file itself."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, Self, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from .group_check import check_object_header
from .seal import SEAL_SIZE

MOST_NAMES = 1000
"""Members of a group that anybody needs; ours have two dozen."""
HIGHEST_RATE = 1e6
LONGEST_ATTRIBUTE = 60_000
"""Bytes; HDF5 has room for a little more."""

MOST_PADDING = 1 << 20
"""Bytes by which the longest text of a table may lengthen all others; else they stand one behind the other."""

_CLASSES = {"i": h5py.h5t.INTEGER, "u": h5py.h5t.INTEGER, "f": h5py.h5t.FLOAT, "b": h5py.h5t.ENUM, "S": h5py.h5t.STRING}
_Number = TypeVar("_Number", np.uint8, np.int64, np.float32, np.float64)


class Extent(NamedTuple):
    """Where a dataset lies: its first byte in the file (-1: it has no bytes), and its form."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass
class _Content:
    """The HDF5 content of a file: its bytes, and how many of them may still be read as tables."""

    file: Any
    length: int
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.length


class ValidatedGroup:
    """A group of an open file whose tables and attributes are read with distrust.

    Raises ValueError, KeyError, OSError or RuntimeError for what is damaged or not ours, never reads another file, and
    all tables that are read have not more bytes than the file: a table that is linked twice is read once.
    """

    def __init__(self, group: Any, content: _Content) -> None:
        check_object_header(group, content.length)
        self._group, self._content = group, content

    @classmethod
    def root(cls, file: Any, length: int) -> Self:
        """Of an open file whose HDF5 content has `length` bytes."""
        return cls(h5py.h5g.open(file, b"/"), _Content(file, length))

    def close(self) -> None:
        """Close the file."""
        self._content.file.close()

    @property
    def size(self) -> int:
        """Bytes of the file, its seal included."""
        return self._content.length + SEAL_SIZE

    def names(self) -> list[str]:
        """The members of the group, sorted."""
        if self._group.get_num_objs() > MOST_NAMES:
            raise ValueError(f"a group of {self._group.get_num_objs()} members, expected {MOST_NAMES} at most")
        return sorted(name.decode() for name in self._group)

    def __contains__(self, name: str) -> bool:
        return bool(name) and self._group.links.exists(name.encode())

    def group(self, name: str) -> "ValidatedGroup":
        """A group in it."""
        return ValidatedGroup(h5py.h5g.open(self._group, self._own(name)), self._content)

    def numbers(self, name: str, dtype: type[_Number]) -> NDArray[_Number]:
        """A table of numbers of exactly this type, (n,)."""
        dataset, extent = self._dataset(name, np.dtype(dtype).kind, 1)
        if extent.dtype != dtype:
            raise ValueError(f"{name}: expected {np.dtype(dtype)}, got {extent.dtype}")
        self._charge_read_budget(name, extent)
        table: NDArray[_Number] = np.empty(extent.shape, dtype)
        dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, table)
        return table

    def texts(self, name: str) -> list[str]:
        """A table of texts, (n,), in either form of `write_strings`."""
        if _ends(name) in self:
            whole = self.numbers(name, np.uint8).tobytes()
            ends = [0, *self.numbers(_ends(name), np.int64).tolist()]
            if ends != sorted(ends) or ends[-1] != len(whole):
                raise ValueError(f"{name}: texts that do not end one behind the other")
            found = [whole[start:end].decode() for start, end in pairwise(ends)]
        else:
            dataset, extent = self._dataset(name, "S", 1)
            self._charge_read_budget(name, extent)
            table = np.empty(extent.shape, extent.dtype)
            dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, table)
            found = list(map(bytes.decode, table.tolist()))
        if "\0" in "".join(found):
            raise ValueError(f"{name}: text with a NUL in it")
        return found

    def extent(self, name: str, kind: str, ndims: Sequence[int]) -> Extent:
        """Where a table is that is read past HDF5."""
        return self._dataset(name, kind, *ndims)[1]

    def text(self, name: str) -> str:
        """An attribute that is one text."""
        found = bytes(self._attribute(name, "S", ())[()]).decode()
        if "\0" in found:
            raise ValueError(f"{name}: text with a NUL in it")
        return found

    def mapping(self, name: str) -> dict[str, Any]:
        """An attribute that is the JSON of an object, which can be written again; RecursionError is a RuntimeError."""
        found = json.loads(self.text(name))
        if not isinstance(found, dict):
            raise ValueError(f"{name}: expected a JSON object, got {type(found).__name__}")
        as_json(name, found)
        return found

    def integer(self, name: str) -> int:
        """An attribute that is one whole number."""
        return int(self._attribute(name, "i", ())[()])

    def rate(self, name: str) -> float:
        """An attribute that is a number of frames per second."""
        found = float(self._attribute(name, "if", ())[()])
        if not 0 < found <= HIGHEST_RATE:
            raise ValueError(f"{name}: expected frames per second, got {found}")
        return found

    def flag(self, name: str) -> bool:
        """An attribute that is true or false."""
        return bool(self._attribute(name, "b", ())[()])

    def vector(self, name: str, most: int) -> tuple[int, ...]:
        """An attribute of 1 to `most` whole numbers."""
        found = self._attribute(name, "i", None)
        if found.ndim != 1 or not 1 <= len(found) <= most:
            raise ValueError(f"{name}: expected 1 to {most} numbers, got the shape {found.shape}")
        return tuple(map(int, found))

    def _own(self, name: str) -> bytes:
        """The name of a member that is stored in this file."""
        if not name or "/" in name or name == ".":
            raise ValueError(f"expected the name of a member, got {name!r}")
        if self._group.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise ValueError(f"{name} is a link to elsewhere")
        return name.encode()

    def _dataset(self, name: str, kind: str, *ndims: int) -> tuple[Any, Extent]:
        # Its identifier alone: h5py's own object takes three times as long to make.
        dataset = h5py.h5d.open(self._group, self._own(name))
        how = dataset.get_create_plist()
        if how.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT) or how.get_nfilters():
            raise ValueError(f"{name}: expected a table in one piece, got one in chunks, compressed or put together")
        if how.get_external_count():
            raise ValueError(f"{name}: its content is in another file")
        shape = _shape(name, dataset.get_space())
        if len(shape) not in ndims:
            raise ValueError(f"{name}: expected a table of {' or '.join(map(str, ndims))} dimensions, got {shape}")
        dtype = _dtype(name, dataset.get_type(), kind)
        size = math.prod(shape) * dtype.itemsize
        if size > self._content.length or dataset.get_storage_size() != size:
            raise ValueError(f"{name}: a table of {size} bytes that the file does not have")
        offset = dataset.get_offset() if size and how.get_layout() == h5py.h5d.CONTIGUOUS else None
        if offset is not None and not 0 <= offset <= self._content.length - size:
            raise ValueError(f"{name}: a table that ends behind the file")
        return dataset, Extent(-1 if offset is None else offset, shape, dtype)

    def _charge_read_budget(self, name: str, extent: Extent) -> None:
        # At least a byte, as a link to an empty table has some.
        self._content.left -= max(1, math.prod(extent.shape) * extent.dtype.itemsize)
        if self._content.left < 0:
            raise ValueError(f"{name}: more tables than the file has bytes")

    def _attribute(self, name: str, kinds: str, shape: tuple[int, ...] | None) -> NDArray[Any]:
        attribute = h5py.h5a.open(self._group, name.encode())
        found = _shape(name, attribute.get_space())
        if shape is not None and found != shape:
            raise ValueError(f"{name}: expected one value, got the shape {found}")
        dtype = _dtype(name, attribute.get_type(), kinds)
        if math.prod(found) * dtype.itemsize > LONGEST_ATTRIBUTE:
            raise ValueError(f"{name}: an attribute of more than {LONGEST_ATTRIBUTE} bytes")
        value = np.empty(found, dtype)
        attribute.read(value)
        return value


def _shape(name: str, space: Any) -> tuple[int, ...]:
    if space.get_simple_extent_type() not in (h5py.h5s.SCALAR, h5py.h5s.SIMPLE):
        raise ValueError(f"{name}: nothing is in it")
    return tuple(space.get_simple_extent_dims())


def _dtype(name: str, stored: Any, kinds: str) -> np.dtype[Any]:
    """The number format of one of these kinds, or text of fixed length; what may be of any size is none."""
    if stored.get_class() not in [_CLASSES[kind] for kind in kinds]:
        raise ValueError(f"{name}: expected {' or '.join(map(_said, kinds))}, got another type")
    if stored.get_class() == h5py.h5t.STRING:
        if stored.is_variable_str():
            raise ValueError(f"{name}: expected text of a fixed length")
    elif stored.get_size() > 8:
        raise ValueError(f"{name}: numbers of {stored.get_size()} bytes")
    dtype: np.dtype[Any] = stored.dtype
    if stored.get_class() == h5py.h5t.ENUM and dtype != np.dtype(bool):
        raise ValueError(f"{name}: expected {_said('b')}, got another type")
    return dtype


def _said(kind: str) -> str:
    return {"i": "whole numbers", "u": "bytes", "f": "numbers", "b": "true or false", "S": "text"}[kind]


def as_json(name: str, values: Mapping[str, Any]) -> str:
    """The JSON of an attribute. Raises ValueError for one that is too large, NaN, infinity and half characters."""
    text = json.dumps(dict(values), sort_keys=True, ensure_ascii=False, allow_nan=False)
    if (size := len(text.encode())) > LONGEST_ATTRIBUTE:
        raise ValueError(f"{name}: expected JSON of {LONGEST_ATTRIBUTE} bytes at most, got {size}")
    return text


def write_strings(group: Any, **columns: Sequence[str]) -> None:
    """Write tables of texts into a group (h5py's), as `texts` reads them. Raises ValueError for a NUL.

    All of a table have one length, which other programs read best, unless a long one would make it mostly padding: then
    `NAME` holds their bytes and `NAME_end` where each ends.
    """
    for name, texts in columns.items():
        encoded = [_encoded(text) for text in texts]
        longest, total = max(map(len, encoded), default=0), sum(map(len, encoded))
        if longest * len(encoded) <= MOST_PADDING + 2 * total:
            group[name] = np.array(encoded, _fixed(longest))
        else:
            group[name] = np.frombuffer(b"".join(encoded), np.uint8)
            group[_ends(name)] = np.cumsum([len(text) for text in encoded], dtype=np.int64)


def write_attributes(attributes: Any, **values: Any) -> None:
    """Write attributes (h5py's) as they are read here: text with a fixed length."""
    for name, value in values.items():
        if isinstance(value, str):
            text = _encoded(value)
            attributes.create(name, np.array(text, _fixed(len(text))))
        else:
            attributes[name] = value


def _ends(name: str) -> str:
    return f"{name}_end"


def _fixed(length: int) -> Any:
    return h5py.string_dtype("utf-8", max(1, length))


def _encoded(text: str) -> bytes:
    if "\0" in text:
        raise ValueError(f"expected text without NUL characters, got {text[:80]!r}")
    # Half a surrogate pair may stand in a command line or in a message about a file's name.
    return text.encode("utf-8", "backslashreplace")
