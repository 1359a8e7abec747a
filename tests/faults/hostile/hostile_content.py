"""What is hostile inside of a file: attributes, tables and numbers that cannot be."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from foal.shared.hdf5.seal import write_seal

SHARD = "features/one/audio-aaaaaaaa/0123456789abcdef.h5"
VLEN = h5py.string_dtype("utf-8")

Change = Callable[[Path], object]
Cases = list[tuple[str, str, Change]]
"""What is tried, in which file, and how that one is changed."""


@contextmanager
def edited(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file of ours to change; it has a right seal afterwards."""
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
        "minus": -1,
        "much": np.int64(2**62),
        "many": np.arange(8),
        "text": np.bytes_("x"),
    }
    texts = {
        "number": 7,
        "many": np.array([b"a", b"b"]),
        "any length": "a",
        "huge": np.bytes_(b"x" * 60_000),
        "nothing": h5py.Empty("f"),
        "no UTF-8": np.bytes_(b"\xff\xfe"),
    }
    jsons = {
        "list": b"[]",
        "number": b"7",
        "deep": b"[" * 60_000,
        "deeper": b'{"a":' * 12_000,
        "torn": b'{"a": 1',
        "long number": b'{"a": ' + b"9" * 50_000 + b"}",
        "NaN": b"NaN",
        "not finite": b'{"a": [NaN, 1e999]}',
        "half a character": b'{"a": "\\ud800"}',
        "long once written again": b'{"a": [' + b"1e5," * 14_000 + b"1]}",
        "of other types": b'{"fps": "x", "precision": 5, "store": [1], "name": {}, "provenance": "imported",'
        b' "size": 1000000, "margin": -1e300, "layers": {}, "model": 7}',
    }
    found: Cases = []
    streams = "streams/audio"
    for group, file, of_texts, of_numbers in (
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
        for name in (*of_texts, *of_numbers):
            found.append(("attributes missing, or of a wrong type or size", file, put(group, name, None)))
            values = texts if name in of_texts else numbers
            found += [
                ("attributes missing, or of a wrong type or size", file, put(group, name, value))
                for kind, value in values.items()
            ]
    for group, file in (("/", SHARD), (streams, "feats.h5")):
        found += [
            ("JSON that is none, or too deep", file, put(group, "config", np.bytes_(text)))
            for kind, text in jsons.items()
        ]
    shapes: tuple[list[Any], ...] = ([0], [-4], [1 << 40], [1 << 20, 1 << 20], [], [4] * 30, [[4]])
    found += [
        ("a frame shape that cannot be", "feats.h5", put(streams, "frame_shape", np.array(shape, np.int64)))
        for shape in shapes
    ]
    return found


def table_cases() -> Cases:
    def instead(name: str, make: Callable[[h5py.File, str, Any], object]) -> Change:
        def change(path: Path) -> None:
            with edited(path) as file:
                was = file[name][()]
                del file[name]
                make(file, name, was)

        return change

    def virtual(file: h5py.File, name: str, was: Any) -> None:
        layout = h5py.VirtualLayout((1 << 30, *was.shape[1:]), was.dtype)
        layout[:5] = h5py.VirtualSource("/etc/passwd", "x", (5, *was.shape[1:]))
        file.create_virtual_dataset(name, layout)

    def amplified(file: h5py.File, name: str, was: Any) -> None:
        table = file.create_dataset(name, (100_000,), VLEN)
        table[0] = "x" * 60_000
        raw = file.filename, table.id.get_offset()
        file.flush()
        with open(raw[0], "r+b") as content:
            content.seek(raw[1])
            reference = content.read(16)
            content.seek(raw[1])
            content.write(reference * 100_000)

    ways: dict[str, Callable[[h5py.File, str, Any], object]] = {
        "is missing": lambda file, name, was: None,
        "has 10**12 rows in chunks": lambda file, name, was: file.create_dataset(
            name, (10**12, *was.shape[1:]), was.dtype, chunks=(1024, *was.shape[1:]), fillvalue=was.dtype.type(1)
        ),
        "has 10**12 rows never written": lambda file, name, was: file.create_dataset(
            name, (10**12, *was.shape[1:]), was.dtype
        ),
        "is a compressed bomb": lambda file, name, was: file.create_dataset(
            name,
            data=np.zeros((1 << 25, *was.shape[1:]), was.dtype),
            chunks=(1 << 20, *was.shape[1:]),
            compression="gzip",
            compression_opts=1,
        ),
        "is an external link": lambda file, name, was: file.__setitem__(name, h5py.ExternalLink("/dev/zero", "/x")),
        "is a soft link": lambda file, name, was: file.__setitem__(name, h5py.SoftLink("/offsets")),
        "is a link to itself": lambda file, name, was: file.__setitem__(name, h5py.SoftLink(f"/{name}")),
        "lies in another file": lambda file, name, was: file.create_dataset(
            name, was.shape, was.dtype, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)]
        ),
        "is virtual": virtual,
        "is text of any length, amplified": amplified,
        "is one number": lambda file, name, was: file.__setitem__(name, 7),
        "has four dimensions too many": lambda file, name, was: file.__setitem__(name, np.zeros((1,) * 6)),
        "is text": lambda file, name, was: file.__setitem__(name, np.array([b"x"] * len(was))),
        "is complex": lambda file, name, was: file.__setitem__(name, np.zeros(len(was), complex)),
        "is a compound": lambda file, name, was: file.__setitem__(name, np.zeros(len(was), [("a", "i4"), ("b", "f8")])),
        "is of references": lambda file, name, was: file.create_dataset(name, (len(was),), h5py.ref_dtype),
        "is empty": lambda file, name, was: file.__setitem__(name, h5py.Empty("f")),
        "is a row longer": lambda file, name, was: file.__setitem__(name, np.concatenate([was, was[:1]])),
        "is a row shorter": lambda file, name, was: file.__setitem__(name, was[:-1]),
        "is a group": lambda file, name, was: file.create_group(name),
        "is all of the file": lambda file, name, was: file.__setitem__(name, file["/"]),
    }
    tables = {
        SHARD: ("values", "offsets", "ids", "quality/sound", "boxes"),
        "feats.h5": ("utterances/id", "utterances/start", "streams/face/length", "shards/path"),
        "packed.h5": ("streams/audio/values", "streams/audio/valid"),
    }
    found: Cases = []
    for file, names in tables.items():
        for name in names:
            bombs = name in ("values", "streams/audio/valid", "utterances/start")
            found += [
                (_row_of(way), file, instead(name, make)) for way, make in ways.items() if bombs or "bomb" not in way
            ]
    return found


def number_cases() -> Cases:
    def put(name: str, value: Any, where: Any = 0) -> Change:
        def change(path: Path) -> None:
            with edited(path) as file:
                file[name][where] = value

        return change

    found: Cases = []
    for value in (-1, -(1 << 62), 1 << 31, 1 << 62, 7):
        for name in ("shard", "row", "offset", "length", "valid_frames"):
            found += [
                ("offsets, lengths and rows that cannot be", file, put(f"streams/face/{name}", value, 3))
                for file in ("feats.h5", "packed.h5")
            ]
        found += [
            ("offsets, lengths and rows that cannot be", "feats.h5", put(f"shards/{name}", value, slice(None)))
            for name in ("size", "values_at", "valid_at", "frames")
        ]
        found.append(("offsets, lengths and rows that cannot be", SHARD, put("offsets", value, 1)))
    for number in (np.nan, np.inf, -1e300):
        for name in ("utterances/start", "utterances/valence", "streams/audio/origin"):
            found.append(("times that are none", "feats.h5", put(name, number, 2)))
        found.append(("times that are none", SHARD, put("origin", number)))
    for name in ("ids", "note", "checksum", "source"):
        found.append(("text with a NUL in it", SHARD, put(name, b"a\0b")))
    for name in ("utterances/id", "utterances/label", "streams/face/checksum"):
        found.append(("text with a NUL in it", "feats.h5", put(name, b"a\0b")))
    found.append(("a row twice", "feats.h5", put("streams/face/offset", 0, slice(None))))
    found.append(("a row twice", "packed.h5", put("streams/face/offset", 0, slice(None))))
    found.append(("a row twice", "feats.h5", put("utterances/id", b"u0", slice(None))))
    found.append(("a row twice", "feats.h5", put("utterances/crop", b"x,y", 1)))
    return found


def _row_of(way: str) -> str:
    """The ledger's words for a way in which a table is wrong."""
    if any(word in way for word in ("link", "other file", "virtual")):
        return "tables that are links, or lie in other files"
    if any(word in way for word in ("10**12", "bomb", "amplified")):
        return "tables far larger than the file"
    return "tables missing, or of a wrong type or shape"
