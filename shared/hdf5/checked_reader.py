"""Reads untrusted HDF5 files: no links to other files, and never more memory than the file has bytes."""

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

MAX_MEMBERS = 1000
"""Maximum members of a group; foal writes about 24."""

MAX_RATE_HZ = 1e6
MAX_ATTRIBUTE_BYTES = 60_000
"""HDF5 allows slightly more."""

MAX_PADDING_BYTES = 1 << 20
"""Padding of a table of texts of equal length; beyond it the texts are concatenated."""

_CLASSES = {"i": h5py.h5t.INTEGER, "u": h5py.h5t.INTEGER, "f": h5py.h5t.FLOAT, "b": h5py.h5t.ENUM, "S": h5py.h5t.STRING}
_Number = TypeVar("_Number", np.uint8, np.int64, np.float32, np.float64)


class Extent(NamedTuple):
    """The place of a dataset: its first byte in the file (-1: it has none), its shape and its dtype."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def byte_range(self) -> tuple[int, int]:
        """Its first byte in the file, and the one after its last."""
        return self.offset, self.offset + math.prod(self.shape) * self.dtype.itemsize


@dataclass
class _Content:
    """The HDF5 content of a file: its length in bytes, and how many bytes may still be read as tables."""

    file: Any
    length: int
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.length


class ValidatedGroup:
    """A group of an open file, each table and attribute of which is validated before it is read.

    Its methods raise ValueError, KeyError, OSError or RuntimeError for damaged or foreign content. Other files are
    never read, and all tables together cannot have more bytes than the file.
    """

    def __init__(self, group: Any, content: _Content) -> None:
        check_object_header(group, content.length)
        self._group, self._content = group, content

    @classmethod
    def root(cls, file: Any, length: int) -> Self:
        """The root group of an open file (h5py's FileID) with `length` bytes of HDF5 content."""
        return cls(h5py.h5g.open(file, b"/"), _Content(file, length))

    def close(self) -> None:
        """Close the file."""
        self._content.file.close()

    @property
    def size(self) -> int:
        """Bytes of the file with its seal."""
        return self._content.length + SEAL_SIZE

    def names(self) -> list[str]:
        """The names of the members, sorted."""
        if self._group.get_num_objs() > MAX_MEMBERS:
            raise ValueError(f"expected at most {MAX_MEMBERS} members, got {self._group.get_num_objs()}")
        return sorted(name.decode() for name in self._group)

    def __contains__(self, name: str) -> bool:
        return bool(name) and self._group.links.exists(name.encode())

    def group(self, name: str) -> "ValidatedGroup":
        """A member that is a group."""
        return ValidatedGroup(h5py.h5g.open(self._group, self._own(name)), self._content)

    def numbers(self, name: str, dtype: type[_Number]) -> NDArray[_Number]:
        """Read a table of numbers of exactly this type, (n,)."""
        dataset, extent = self._dataset(name, np.dtype(dtype).kind, 1)
        if extent.dtype != dtype:
            raise ValueError(f"{name}: expected {np.dtype(dtype)}, got {extent.dtype}")
        self._charge_read_budget(name, extent)
        table: NDArray[_Number] = np.empty(extent.shape, dtype)
        dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, table)
        return table

    def texts(self, name: str, *, repeated: bool = False) -> list[str]:
        """Read a table of texts, (n,), in either form of `write_strings`; `repeated`: equal texts are one object."""
        if _ends(name) in self:
            whole = self.numbers(name, np.uint8).tobytes()
            ends = [0, *self.numbers(_ends(name), np.int64).tolist()]
            if ends != sorted(ends) or ends[-1] != len(whole):
                raise ValueError(f"{name}: the end offsets of the texts are not ascending")
            texts = [whole[start:end].decode() for start, end in pairwise(ends)]
        else:
            dataset, extent = self._dataset(name, "S", 1)
            self._charge_read_budget(name, extent)
            table = np.empty(extent.shape, extent.dtype)
            dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, table)
            encoded = table.tolist()
            decode = {text: text.decode() for text in set(encoded)}.__getitem__ if repeated else bytes.decode
            texts = list(map(decode, encoded))
        if "\0" in "".join(texts):
            raise ValueError(f"{name}: text with a NUL in it")
        return texts

    def extent(self, name: str, kind: str, ndims: Sequence[int]) -> Extent:
        """The place of a table that is read without HDF5."""
        return self._dataset(name, kind, *ndims)[1]

    def text(self, name: str, *, default: str | None = None) -> str:
        """Read an attribute that is one text; `default`: the text if there is none of this name."""
        if default is not None and not h5py.h5a.exists(self._group, name.encode()):
            return default
        text = bytes(self._attribute(name, "S", ())[()]).decode()
        if "\0" in text:
            raise ValueError(f"{name}: text with a NUL in it")
        return text

    def mapping(self, name: str) -> dict[str, Any]:
        """Read an attribute that is the JSON of an object, which could be written again."""
        values = json.loads(self.text(name))
        if not isinstance(values, dict):
            raise ValueError(f"{name}: expected a JSON object, got {type(values).__name__}")
        as_json(name, values)
        return values

    def integer(self, name: str) -> int:
        """Read an attribute that is one integer."""
        return int(self._attribute(name, "i", ())[()])

    def rate(self, name: str) -> float:
        """Read an attribute that is a number of frames per second; 0 for tokens, which have no times."""
        rate_hz = float(self._attribute(name, "if", ())[()])
        if not 0 <= rate_hz <= MAX_RATE_HZ:
            raise ValueError(f"{name}: expected frames per second, got {rate_hz}")
        return rate_hz

    def flag(self, name: str) -> bool:
        """Read an attribute that is true or false."""
        return bool(self._attribute(name, "b", ())[()])

    def vector(self, name: str, max_length: int) -> tuple[int, ...]:
        """Read an attribute of 1 to `max_length` integers."""
        numbers = self._attribute(name, "i", None)
        if numbers.ndim != 1 or not 1 <= len(numbers) <= max_length:
            raise ValueError(f"{name}: expected 1 to {max_length} numbers, got the shape {numbers.shape}")
        return tuple(map(int, numbers))

    def _own(self, name: str) -> bytes:
        """The encoded name of a member that is stored in this file, not linked."""
        if not name or "/" in name or name == ".":
            raise ValueError(f"expected the name of a member, got {name!r}")
        if self._group.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise ValueError(f"{name} is a link to another object or file")
        return name.encode()

    def _dataset(self, name: str, kind: str, *ndims: int) -> tuple[Any, Extent]:
        # The low-level identifier: creating a h5py.Dataset takes three times as long.
        dataset = h5py.h5d.open(self._group, self._own(name))
        layout = dataset.get_create_plist()
        if layout.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT) or layout.get_nfilters():
            raise ValueError(f"{name}: expected a contiguous table, got a chunked, compressed or virtual one")
        if layout.get_external_count():
            raise ValueError(f"{name}: the content is stored in another file")
        shape = _shape(name, dataset.get_space())
        if len(shape) not in ndims:
            raise ValueError(f"{name}: expected a table of {' or '.join(map(str, ndims))} dimensions, got {shape}")
        dtype = _dtype(name, dataset.get_type(), kind)
        size = math.prod(shape) * dtype.itemsize
        if size > self._content.length or dataset.get_storage_size() != size:
            raise ValueError(f"{name}: expected {size} bytes of values, which the file does not contain")
        offset = dataset.get_offset() if size and layout.get_layout() == h5py.h5d.CONTIGUOUS else None
        if offset is not None and not 0 <= offset <= self._content.length - size:
            raise ValueError(f"{name}: the table extends beyond the end of the file")
        return dataset, Extent(-1 if offset is None else offset, shape, dtype)

    def _charge_read_budget(self, name: str, extent: Extent) -> None:
        # At least one byte per table: a link to an empty table has a size, too.
        self._content.left -= max(1, math.prod(extent.shape) * extent.dtype.itemsize)
        if self._content.left < 0:
            raise ValueError(f"{name}: the tables together are larger than the file")

    def _attribute(self, name: str, kinds: str, shape: tuple[int, ...] | None) -> NDArray[Any]:
        attribute = h5py.h5a.open(self._group, name.encode())
        stored_shape = _shape(name, attribute.get_space())
        if shape is not None and stored_shape != shape:
            raise ValueError(f"{name}: expected one value, got the shape {stored_shape}")
        dtype = _dtype(name, attribute.get_type(), kinds)
        if math.prod(stored_shape) * dtype.itemsize > MAX_ATTRIBUTE_BYTES:
            raise ValueError(f"{name}: the attribute is larger than {MAX_ATTRIBUTE_BYTES} bytes")
        value = np.empty(stored_shape, dtype)
        attribute.read(value)
        return value


def _shape(name: str, space: Any) -> tuple[int, ...]:
    if space.get_simple_extent_type() not in (h5py.h5s.SCALAR, h5py.h5s.SIMPLE):
        raise ValueError(f"{name}: no content")
    return tuple(space.get_simple_extent_dims())


def _dtype(name: str, stored: Any, kinds: str) -> np.dtype[Any]:
    """The dtype of stored data. Raises ValueError for other kinds and for data of variable length."""
    if stored.get_class() not in [_CLASSES[kind] for kind in kinds]:
        raise ValueError(f"{name}: expected {' or '.join(map(_kind_name, kinds))}, got another type")
    if stored.get_class() == h5py.h5t.STRING:
        if stored.is_variable_str():
            raise ValueError(f"{name}: expected text of a fixed length")
    elif stored.get_size() > 8:
        raise ValueError(f"{name}: expected numbers of at most 8 bytes, got {stored.get_size()}")
    dtype: np.dtype[Any] = stored.dtype
    if stored.get_class() == h5py.h5t.ENUM and dtype != np.dtype(bool):
        raise ValueError(f"{name}: expected {_kind_name('b')}, got another type")
    return dtype


def _kind_name(kind: str) -> str:
    return {"i": "integers", "u": "bytes", "f": "numbers", "b": "true or false", "S": "text"}[kind]


def as_json(name: str, values: Mapping[str, Any]) -> str:
    """The JSON text of an attribute. Raises ValueError if it is too large, or contains NaN, infinity or surrogates."""
    text = json.dumps(dict(values), sort_keys=True, ensure_ascii=False, allow_nan=False)
    if (size := len(text.encode())) > MAX_ATTRIBUTE_BYTES:
        raise ValueError(f"{name}: expected JSON of {MAX_ATTRIBUTE_BYTES} bytes at most, got {size}")
    return text


def write_strings(group: Any, **columns: Sequence[str]) -> None:
    """Write tables of texts into a h5py group, in a form that `texts` reads. Raises ValueError for a NUL.

    A table has texts of one length, which other programs read best. Where a long text would make the table mostly
    padding, `NAME` holds the concatenated bytes and `NAME_end` the end of each text.
    """
    for name, texts in columns.items():
        encoded = [_encoded(text) for text in texts]
        longest, total = max(map(len, encoded), default=0), sum(map(len, encoded))
        if longest * len(encoded) <= MAX_PADDING_BYTES + 2 * total:
            group[name] = np.array(encoded, _fixed(longest))
        else:
            group[name] = np.frombuffer(b"".join(encoded), np.uint8)
            group[_ends(name)] = np.cumsum([len(text) for text in encoded], dtype=np.int64)


def write_attributes(attributes: Any, **values: Any) -> None:
    """Write attributes of a h5py object in a form that ValidatedGroup reads: texts have a fixed length."""
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
    # Command lines and messages about file names may contain a surrogate.
    return text.encode("utf-8", "backslashreplace")
