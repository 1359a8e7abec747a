"""The digest of an index: everything that training reads, wherever it is stored; and a quicker hash of the same."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import repeat
from typing import Any

import numpy as np
import xxhash

from ..text import json_of_each
from ..utterance import COLUMNS, DIALOG, NUMBERS
from .index_reader import VERSION
from .index_tables import LocatedStream

BLOCK_ROWS = 1 << 14
"""Rows of which the JSON is in memory at a time."""


def index_digest(columns: Mapping[str, Sequence[Any]], streams: Mapping[str, LocatedStream]) -> str:
    """Hash of the rows of the manifest and of their features.

    The hashed text of a row is that of `json.dumps([VERSION, columns, features])`: the columns of the manifest, empty
    ones for dialogs and shares left out, so that the digest of an index of an earlier version remains valid; and for
    each stream, sorted, its name, configuration hash, checksum, number of frames and note.

    Args:
        columns: the columns of the utterances, see `utterance_columns`.
        streams: where the features of the utterances are.
    """
    digest = blake2b(digest_size=16)
    count = len(columns["id"])
    for start in range(0, count, BLOCK_ROWS):
        rows = slice(start, min(count, start + BLOCK_ROWS))
        block = {name: values[rows] for name, values in columns.items()}
        parts: list[Iterable[str]] = [repeat(f"[{VERSION}, [")]
        for number, name in enumerate(name for name in COLUMNS if name not in DIALOG):
            parts += [repeat(", " if number else ""), json_of_each(block[name])]
        for name in DIALOG:
            items = zip(block[name], json_of_each(block[name]), strict=True)
            parts.append(["" if value in ("", None) else f', ["{name}", {text}]' for value, text in items])
        parts.append([f', ["shares", {json.dumps(shares)}]' if shares else "" for shares in block["shares"]])
        parts.append(repeat("], ["))
        for number, (name, stream) in enumerate(sorted(streams.items())):
            parts += [repeat(", " if number else ""), _features(name, stream, rows)]
        parts.append(repeat("]]"))
        digest.update("".join(map("".join, zip(*parts, strict=False))).encode())
    return digest.hexdigest()


def index_fingerprint(columns: Mapping[str, Sequence[Any]], streams: Mapping[str, LocatedStream]) -> str:
    """Another hash of all that `index_digest` covers, with the same arguments, in a fifth of its time.

    It is stored beside the digest: as long as it is the same, the digest is, and need not be computed. Whatever changes
    the text that `index_digest` hashes has to change this hash, too.
    """
    fingerprint = xxhash.xxh3_128()
    for piece in _pieces(columns, streams):
        # With its length, so that no other pieces have the same concatenation.
        fingerprint.update(len(piece).to_bytes(8, "little"))
        fingerprint.update(piece)
    return fingerprint.hexdigest()


def _pieces(columns: Mapping[str, Sequence[Any]], streams: Mapping[str, LocatedStream]) -> Iterator[bytes]:
    """What `index_digest` covers, column after column in each block of rows."""
    count, ordered = len(columns["id"]), sorted(streams.items())
    yield json.dumps([VERSION, count, [name for name, _ in ordered]]).encode()
    for start in range(0, count, BLOCK_ROWS):
        rows = slice(start, min(count, start + BLOCK_ROWS))
        for name in (*COLUMNS, "shares"):
            values = columns[name][rows]
            if name in NUMBERS:
                yield _numbers(values)
            else:
                yield json.dumps(values).encode() if name == "shares" else _joined(values)
        for _, stream in ordered:
            config_hashes, checksums, lengths, notes = _feature_columns(stream, rows)
            yield from map(_joined, (config_hashes, checksums, notes))
            yield json.dumps(lengths).encode()


def _joined(texts: Sequence[str]) -> bytes:
    """Texts separated by NUL, which none in an index contains; JSON takes several times as long."""
    return "\0".join(texts).encode("utf-8", "surrogatepass")


def _numbers(values: Sequence[float | None]) -> bytes:
    """Numbers as bytes if all are float, else as JSON, which begins with a bracket."""
    if set(map(type, values)) == {float}:
        return b"f" + np.array(values, np.float64).tobytes()
    return json.dumps(values).encode()


def _features(name: str, stream: LocatedStream, rows: slice) -> list[str]:
    """Name, configuration hash, checksum, frames and note of some rows of a stream, as JSON."""
    quoted = json.dumps(name)
    config_hashes, checksums, lengths, notes = _feature_columns(stream, rows)
    columns = (json_of_each(config_hashes), json_of_each(checksums), lengths, json_of_each(notes))
    return [
        f"[{quoted}, {config_hash}, {checksum}, {length}, {note}]"
        for config_hash, checksum, length, note in zip(*columns, strict=True)
    ]


def _feature_columns(stream: LocatedStream, rows: slice) -> tuple[list[str], list[str], list[int], list[str]]:
    """Configuration hash, checksum, frames and note of some rows of a stream."""
    catalog, chosen = stream.catalog, stream.rows[rows]
    table, numbers = catalog.rows, catalog.rows.shard[chosen].tolist()
    hash_of = {number: catalog.shards[catalog.paths[number]].header.config_hash for number in set(numbers)}
    return (
        [hash_of[number] for number in numbers],
        table.checksums[chosen].tolist(),
        table.length[chosen].tolist(),
        table.notes[chosen].tolist(),
    )
