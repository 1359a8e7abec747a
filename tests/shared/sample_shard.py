"""The header and entries of the shards that the tests of reader and writer write."""

from pathlib import Path

import numpy as np

from foal.shared.store.shard import Entry, ShardHeader, ShardWriter

HEADER = ShardHeader(
    modality="audio",
    config_hash="k" * 64,
    rate_hz=50.0,
    encoder="e",
    revision="r",
    weights="w",
    random_weights=True,
    config={"layers": "last", "nested": {"a": [1, 2]}},
)


def make_entry(name: str = "u", values: np.ndarray | None = None, **changes: object) -> Entry:
    values = np.ones((3, 4), np.float32) if values is None else values
    fields: dict[str, object] = {"id": name, "values": values, "valid": np.ones(len(values), bool)}
    fields |= {"origin": 0.0125, "source": "s", "media": "m"}
    return Entry(**(fields | changes))  # type: ignore[arg-type]


def write_shard(path: Path, *entries: Entry, dtype: str = "float16") -> Path:
    with ShardWriter(path, HEADER, dtype=dtype) as writer:  # type: ignore[arg-type]
        for entry in entries:
            writer.add(entry)
    return path
