"""Hostile contents of HDF5 files: invalid attributes, tables and numbers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from foal.shared.hdf5.seal import write_seal

SHARD = "features/one/audio-aaaaaaaa/0123456789abcdef.h5"
BAD_ATTRIBUTE = "missing attributes, or attributes of a wrong type or size"
BAD_NUMBER = "impossible offsets, lengths and row numbers"
VLEN = h5py.string_dtype("utf-8")

Change = Callable[[Path], object]
Cases = list[tuple[str, str, Change]]
"""Tuples of fault, file, and the function that changes the file."""


@contextmanager
def edited(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for changes, then write a valid seal."""
    with h5py.File(path, "r+") as file:
        yield file
    write_seal(path)


def attribute_cases() -> Cases:
    def put(group: str, name: str, value: Any) -> Change:
        def change(path: Path) -> None:
            with edited(path) as file:
                del file[group].attrs[name]
                if value is not None:
                    file[group].attrs[name] = value

        return change

    numbers = {
        "true": np.True_,
        "nan": np.nan,
        "negative": -1,
        "large": np.int64(2**62),
        "array": np.arange(8),
        "text": np.bytes_("x"),
    }
    texts = {
        "number": 7,
        "array": np.array([b"a", b"b"]),
        "variable length": "a",
        "huge": np.bytes_(b"x" * 60_000),
        "empty": h5py.Empty("f"),
        "invalid UTF-8": np.bytes_(b"\xff\xfe"),
    }
    jsons = {
        "list": b"[]",
        "number": b"7",
        "deep": b"[" * 60_000,
        "deeper": b'{"a":' * 12_000,
        "truncated": b'{"a": 1',
        "long number": b'{"a": ' + b"9" * 50_000 + b"}",
        "NaN": b"NaN",
        "not finite": b'{"a": [NaN, 1e999]}',
        "lone surrogate": b'{"a": "\\ud800"}',
        "long when serialized again": b'{"a": [' + b"1e5," * 14_000 + b"1]}",
        "wrong types": b'{"fps": "x", "precision": 5, "store": [1], "name": {}, "provenance": "imported",'
        b' "size": 1000000, "margin": -1e300, "layers": {}, "model": 7}',
    }
    cases: Cases = []
    streams = "streams/audio"
    for group, file, text_names, number_names in (
        (
            "/",
            SHARD,
            ("format", "modality", "config_hash", "encoder", "config", "digest", "created"),
            ("version", "rate_hz", "random_weights"),
        ),
        ("/", "feats.h5", ("format", "digest"), ("version", "packed")),
        (
            streams,
            "feats.h5",
            ("encoder", "config_hash", "dtype", "config"),
            ("rate_hz", "random_weights", "frame_shape"),
        ),
    ):
        for name in (*text_names, *number_names):
            cases.append((BAD_ATTRIBUTE, file, put(group, name, None)))
            values = texts if name in text_names else numbers
            cases += [(BAD_ATTRIBUTE, file, put(group, name, value)) for kind, value in values.items()]
    for group, file in (("/", SHARD), (streams, "feats.h5")):
        cases += [
            ("invalid or deeply nested JSON", file, put(group, "config", np.bytes_(text)))
            for kind, text in jsons.items()
        ]
    shapes: tuple[list[Any], ...] = ([0], [-4], [1 << 40], [1 << 20, 1 << 20], [], [4] * 30, [[4]])
    cases += [
        ("an impossible frame shape", "feats.h5", put(streams, "frame_shape", np.array(shape, np.int64)))
        for shape in shapes
    ]
    return cases


def table_cases() -> Cases:
    def replace_table(name: str, make: Callable[[h5py.File, str, Any], object]) -> Change:
        def change(path: Path) -> None:
            with edited(path) as file:
                old = file[name][()]
                del file[name]
                make(file, name, old)

        return change

    def virtual(file: h5py.File, name: str, old: Any) -> None:
        layout = h5py.VirtualLayout((1 << 30, *old.shape[1:]), old.dtype)
        layout[:5] = h5py.VirtualSource("/etc/passwd", "x", (5, *old.shape[1:]))
        file.create_virtual_dataset(name, layout)

    def amplified(file: h5py.File, name: str, old: Any) -> None:
        table = file.create_dataset(name, (100_000,), VLEN)
        table[0] = "x" * 60_000
        raw = file.filename, table.id.get_offset()
        file.flush()
        with open(raw[0], "r+b") as content:
            content.seek(raw[1])
            reference = content.read(16)
            content.seek(raw[1])
            content.write(reference * 100_000)

    replacements: dict[str, Callable[[h5py.File, str, Any], object]] = {
        "is missing": lambda file, name, old: None,
        "has 10**12 rows in chunks": lambda file, name, old: file.create_dataset(
            name, (10**12, *old.shape[1:]), old.dtype, chunks=(1024, *old.shape[1:]), fillvalue=old.dtype.type(1)
        ),
        "has 10**12 rows without storage": lambda file, name, old: file.create_dataset(
            name, (10**12, *old.shape[1:]), old.dtype
        ),
        "is a compressed bomb": lambda file, name, old: file.create_dataset(
            name,
            data=np.zeros((1 << 25, *old.shape[1:]), old.dtype),
            chunks=(1 << 20, *old.shape[1:]),
            compression="gzip",
            compression_opts=1,
        ),
        "is an external link": lambda file, name, old: file.__setitem__(name, h5py.ExternalLink("/dev/zero", "/x")),
        "is a soft link": lambda file, name, old: file.__setitem__(name, h5py.SoftLink("/offsets")),
        "is a link to itself": lambda file, name, old: file.__setitem__(name, h5py.SoftLink(f"/{name}")),
        "is stored in another file": lambda file, name, old: file.create_dataset(
            name, old.shape, old.dtype, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)]
        ),
        "is virtual": virtual,
        "is variable-length text, amplified": amplified,
        "is a scalar": lambda file, name, old: file.__setitem__(name, 7),
        "has four dimensions too many": lambda file, name, old: file.__setitem__(name, np.zeros((1,) * 6)),
        "is text": lambda file, name, old: file.__setitem__(name, np.array([b"x"] * len(old))),
        "is complex": lambda file, name, old: file.__setitem__(name, np.zeros(len(old), complex)),
        "is a compound": lambda file, name, old: file.__setitem__(name, np.zeros(len(old), [("a", "i4"), ("b", "f8")])),
        "contains references": lambda file, name, old: file.create_dataset(name, (len(old),), h5py.ref_dtype),
        "is empty": lambda file, name, old: file.__setitem__(name, h5py.Empty("f")),
        "has an additional row": lambda file, name, old: file.__setitem__(name, np.concatenate([old, old[:1]])),
        "lacks a row": lambda file, name, old: file.__setitem__(name, old[:-1]),
        "is a group": lambda file, name, old: file.create_group(name),
        "is the root group": lambda file, name, old: file.__setitem__(name, file["/"]),
    }
    tables = {
        SHARD: ("values", "offsets", "ids", "quality/sound", "boxes"),
        "feats.h5": ("utterances/id", "utterances/start", "streams/face/length", "shards/path"),
        "packed.h5": ("streams/audio/values", "streams/audio/valid"),
    }
    cases: Cases = []
    for file, names in tables.items():
        for name in names:
            bombs = name in ("values", "streams/audio/valid", "utterances/start")
            cases += [
                (_fault_of(description), file, replace_table(name, make))
                for description, make in replacements.items()
                if bombs or "bomb" not in description
            ]
    return cases


def number_cases() -> Cases:
    def put(name: str, value: Any, where: Any = 0) -> Change:
        def change(path: Path) -> None:
            with edited(path) as file:
                file[name][where] = value

        return change

    cases: Cases = []
    for value in (-1, -(1 << 62), 1 << 31, 1 << 62, 7):
        for name in ("shard", "row", "offset", "length", "valid_frames"):
            cases += [(BAD_NUMBER, file, put(f"streams/face/{name}", value, 3)) for file in ("feats.h5", "packed.h5")]
        cases += [
            (BAD_NUMBER, "feats.h5", put(f"shards/{name}", value, slice(None)))
            for name in ("size", "values_at", "valid_at", "frames")
        ]
        cases.append((BAD_NUMBER, SHARD, put("offsets", value, 1)))
    for number in (np.nan, np.inf, -1e300):
        for name in ("utterances/start", "utterances/valence", "streams/audio/origin"):
            cases.append(("NaN, infinite or extreme numbers", "feats.h5", put(name, number, 2)))
        cases.append(("NaN, infinite or extreme numbers", SHARD, put("origin", number)))
    for name in ("ids", "note", "checksum", "source"):
        cases.append(("text that contains NUL", SHARD, put(name, b"a\0b")))
    for name in ("utterances/id", "utterances/label", "streams/face/checksum"):
        cases.append(("text that contains NUL", "feats.h5", put(name, b"a\0b")))
    cases.append(("duplicate rows", "feats.h5", put("streams/face/offset", 0, slice(None))))
    cases.append(("duplicate rows", "packed.h5", put("streams/face/offset", 0, slice(None))))
    cases.append(("duplicate rows", "feats.h5", put("utterances/id", b"u0", slice(None))))
    cases.append(("duplicate rows", "feats.h5", put("utterances/crop", b"x,y", 1)))
    return cases


def _fault_of(description: str) -> str:
    """Return the fault of the table in docs/reliability.md to which a change of a table belongs."""
    if any(part in description for part in ("link", "other file", "virtual")):
        return "tables that are links, or stored in other files"
    if any(part in description for part in ("10**12", "bomb", "amplified")):
        return "tables far larger than the file"
    return "missing tables, or tables of a wrong type or shape"
