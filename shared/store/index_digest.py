"""The digest of an index: everything that training reads, wherever it is stored."""

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import repeat
from typing import Any

from ..utterance import COLUMNS, DIALOG
from .index_reader import VERSION
from .index_tables import LocatedStream

BLOCK_ROWS = 1 << 14
"""Rows of which the JSON is in memory at a time."""

_ONE_PER_LINE = json.JSONEncoder(separators=("\n", ":"))


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
            parts += [repeat(", " if number else ""), _as_json(block[name])]
        for name in DIALOG:
            items = zip(block[name], _as_json(block[name]), strict=True)
            parts.append(["" if value in ("", None) else f', ["{name}", {text}]' for value, text in items])
        parts.append([f', ["shares", {json.dumps(shares)}]' if shares else "" for shares in block["shares"]])
        parts.append(repeat("], ["))
        for number, (name, stream) in enumerate(sorted(streams.items())):
            parts += [repeat(", " if number else ""), _features(name, stream, rows)]
        parts.append(repeat("]]"))
        digest.update("".join(map("".join, zip(*parts, strict=False))).encode())
    return digest.hexdigest()


def _features(name: str, stream: LocatedStream, rows: slice) -> list[str]:
    """Name, configuration hash, checksum, frames and note of some rows of a stream, as JSON."""
    catalog, chosen = stream.catalog, stream.rows[rows]
    table, quoted = catalog.rows, json.dumps(name)
    hashes = dict.fromkeys(set(table.shard[chosen].tolist()), "")
    for number in hashes:
        hashes[number] = json.dumps(catalog.shards[catalog.paths[number]].header.config_hash)
    columns = (
        map(hashes.__getitem__, table.shard[chosen].tolist()),
        _as_json(table.checksums[chosen].tolist()),
        table.length[chosen].tolist(),
        _as_json(table.notes[chosen].tolist()),
    )
    return [
        f"[{quoted}, {config_hash}, {checksum}, {length}, {note}]"
        for config_hash, checksum, length, note in zip(*columns, strict=True)
    ]


def _as_json(values: Sequence[Any]) -> list[str]:
    """The JSON of each text or number; a text never contains a line break there."""
    return _ONE_PER_LINE.encode(list(values))[1:-1].split("\n")
