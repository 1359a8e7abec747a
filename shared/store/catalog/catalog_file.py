"""The stored table of a folder of shards: what a run would otherwise read from each of them. It is a cache."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...files.atomic import replaced_atomically
from ...hdf5.checked_reader import ValidatedGroup, write_attributes, write_strings
from ...hdf5.opening import FileFormat, open_hdf5, wrap_as_store_error
from ...hdf5.seal import write_seal
from ...hdf5.writer import create_hdf5
from ..shard import ShardHeader
from .rows import INTEGERS, TEXTS, CatalogRows, ShardInfo, Texts

CATALOG_NAME = "catalog.hdf5"
"""The name differs from those of shards in its ending."""

FORMAT, VERSION = "foal-catalog", 1
"""To be increased with the version of the shards, too: a table of an older version is not used."""

CATALOG_FORMAT = FileFormat(
    name=FORMAT,
    version=VERSION,
    label="catalog",
    missing="no catalog",
    damaged="`foal extract` writes it again",
    older="`foal extract` writes it again",
)

CODED = ("media", "contents", "notes")
"""Texts with few different values, which are stored once."""
EXTENTS = ("values_at", "valid_at", "frames")


@dataclass(frozen=True, kw_only=True)
class StoredCatalog:
    """A stored table: its shards by file name, the name of each shard number, and the rows."""

    shards: Mapping[str, ShardInfo]
    names: Sequence[str]
    rows: CatalogRows


def write_catalog_file(path: Path, shards: Mapping[str, ShardInfo], rows: CatalogRows) -> None:
    """Write the table of a folder, completely or not at all.

    Args:
        path: the file to write.
        shards: the shards by file name.
        rows: their rows; shard i is the i-th of `shards`.

    Raises:
        FoalError: the file cannot be written.
    """
    with replaced_atomically(path) as temporary:
        with create_hdf5(temporary) as file:
            write_attributes(file.attrs, format=FORMAT, version=VERSION)
            _write_shards(file.create_group("shards"), shards)
            _write_rows(file.create_group("rows"), rows)
        write_seal(temporary)


def read_catalog_file(path: Path) -> StoredCatalog:
    """Read the table of a folder; every byte is compared with its checksum.

    Raises:
        StoreError: the table is missing, damaged, of another format or of an older version.
        FutureError: it was written by a newer version of foal.
    """
    root = open_hdf5(path, CATALOG_FORMAT, verify_up_to_bytes=float("inf"))
    try:
        with wrap_as_store_error(path, CATALOG_FORMAT.damaged):
            shards = _read_shards(root.group("shards"))
            rows = _read_rows(root.group("rows"), list(shards.values()))
            return StoredCatalog(shards=shards, names=list(shards), rows=rows)
    finally:
        root.close()


def _write_shards(group: h5py.Group, shards: Mapping[str, ShardInfo]) -> None:
    infos = list(shards.values())
    kinds = [json.dumps([asdict(info.header), info.frame_shape, info.dtype], sort_keys=True) for info in infos]
    write_strings(
        group, name=list(shards), digest=[info.digest for info in infos], created=[info.created for info in infos]
    )
    _write_coded(group, "kind", kinds)
    columns = {
        "size": [info.size for info in infos],
        "modified": [info.modified for info in infos],
        "verified": [int(info.verified) for info in infos],
        **{name: [info.extents[number] for info in infos] for number, name in enumerate(EXTENTS)},
    }
    for name, column in columns.items():
        group[name] = np.array(column, np.int64)


def _read_shards(group: ValidatedGroup) -> dict[str, ShardInfo]:
    names, digests, created = (group.texts(name) for name in ("name", "digest", "created"))
    parsed = {text: _parse_kind(text) for text in group.texts("kind_values")}
    kinds = [parsed[text] for text in _read_coded(group, "kind").tolist()]
    numbers = [group.numbers(name, np.int64).tolist() for name in ("size", "modified", "verified", *EXTENTS)]
    shards: dict[str, ShardInfo] = {}
    for name, digest, written, kind, *integers in zip(names, digests, created, kinds, *numbers, strict=True):
        size, modified, verified, values_at, valid_at, frames = integers
        header, frame_shape, dtype = kind
        shards[name] = ShardInfo(
            header=header,
            digest=digest,
            frame_shape=frame_shape,
            dtype=dtype,
            size=size,
            extents=(values_at, valid_at, frames),
            created=written,
            modified=modified,
            verified=bool(verified),
        )
    if len(shards) != len(names):
        raise ValueError("a shard occurs twice")
    return shards


def _parse_kind(text: str) -> tuple[ShardHeader, tuple[int, ...], str]:
    """Header, frame shape and number format, which the shards of a folder share."""
    fields, frame_shape, dtype = json.loads(text)
    header = ShardHeader(**fields)
    texts = (header.modality, header.config_hash, header.encoder, header.revision, header.weights, dtype)
    if not all(isinstance(value, str) for value in texts) or not isinstance(header.config, dict):
        raise ValueError("kind: expected the header of a shard")
    return header, tuple(map(int, frame_shape)), dtype


def _write_rows(group: h5py.Group, rows: CatalogRows) -> None:
    for name in TEXTS:
        if name in CODED:
            _write_coded(group, name, getattr(rows, name).tolist())
        else:
            write_strings(group, **{name: getattr(rows, name).tolist()})
    for name in (*INTEGERS, "origins"):
        group[name] = getattr(rows, name)
    quality = group.create_group("quality")
    for name, column in rows.quality.items():
        quality[name] = column


def _read_rows(group: ValidatedGroup, shards: Sequence[ShardInfo]) -> CatalogRows:
    quality = group.group("quality")
    columns: dict[str, Any] = {
        name: _read_coded(group, name) if name in CODED else np.array(group.texts(name), object) for name in TEXTS
    }
    columns |= {name: group.numbers(name, np.int64) for name in INTEGERS}
    rows = CatalogRows(
        **columns,
        origins=group.numbers("origins", np.float64),
        quality={name: quality.numbers(name, np.float32) for name in quality.names()},
    )
    lengths = {len(getattr(rows, name)) for name in (*TEXTS, *INTEGERS, "origins")}
    if {*lengths, *map(len, rows.quality.values())} != {len(rows)}:
        raise ValueError("its columns have different lengths")
    frames = np.array([info.extents[2] for info in shards], np.int64)
    if len(rows) and not (
        rows.shard.min() >= 0
        and rows.shard.max() < len(shards)
        and min(rows.row.min(), rows.offset.min(), rows.length.min(), rows.valid_frames.min()) >= 0
        and (rows.offset <= frames[rows.shard] - rows.length).all()
        and (rows.valid_frames <= rows.length).all()
        and np.isfinite(rows.origins).all()
    ):
        raise ValueError("rows outside of their shards")
    if (np.bincount(rows.shard, rows.length, minlength=len(frames)) != frames).any():
        raise ValueError("expected rows for all frames of each shard")
    return rows


def _write_coded(group: h5py.Group, name: str, texts: Sequence[str]) -> None:
    """Write a column of texts as its different values and the number of the value in each row."""
    codes = {text: code for code, text in enumerate(dict.fromkeys(texts))}
    write_strings(group, **{f"{name}_values": list(codes)})
    group[name] = np.array([codes[text] for text in texts], np.int64)


def _read_coded(group: ValidatedGroup, name: str) -> Texts:
    values, codes = np.array(group.texts(f"{name}_values"), object), group.numbers(name, np.int64)
    if len(codes) and not 0 <= codes.min() <= codes.max() < len(values):
        raise ValueError(f"{name}: numbers outside of its values")
    texts: Texts = values[codes] if len(codes) else np.zeros(0, object)
    return texts
