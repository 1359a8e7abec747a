"""Read hostile files with every reader, one case after the other, in limited memory; print the error of each.

Run as a script, `hostile_reader.py FOLDER MEMORY`, with cases as JSON lines [number, fault, file] on standard input.
"""

import json
import resource
import sys
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

from foal.extract.maintenance.index import format_stream_config
from foal.extract.maintenance.stale import find_stale, is_deletable_corrupt_shard
from foal.shared.errors import FoalError
from foal.shared.files.media_state import MediaFingerprints
from foal.shared.store.catalog import read_catalog
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.index_writer import write_index
from foal.shared.store.shard import ShardReader, verify_shard
from foal.shared.store.verify import verify_values
from foal.shared.utterance import Utterance
from foal.tests.verification import verify_target

KEYS = {"audio": "a" * 64, "face": "f" * 64}
ROWS = [Utterance(id=f"u{i}", session=("one", "two")[i % 2], audio="a.wav", video="v.mp4", end=1.0) for i in range(6)]


def hash_features(index: Path) -> dict[str, str]:
    """Read all utterances; return a hash of the features of each stream."""
    with FeatureStore(index) as store:
        hashes = {}
        for name in store.streams:
            packed = store.packed(name)
            hashes[name] = blake2b(packed.values.tobytes() + packed.valid.tobytes()).hexdigest()
            verify_values(store)
            store.quality(name)
            if len(store):
                store.boxes(name, 0)
        return hashes


def read_entries(path: Path) -> None:
    with ShardReader(path) as shard:
        format_stream_config(shard.header)
        for row in range(len(shard)):
            shard.entry(row)


def readers(folder: Path, file: str) -> dict[str, Callable[[], Any]]:
    """Return every way to read the file; "read" returns hashes of the features."""
    path, features, shard = folder / file, folder / "features", "features" in file
    index = folder / ("feats.h5" if shard else file)
    return {
        "verify file": lambda: verify_target(path),
        "verify all": lambda: verify_target(folder / "features") and verify_target(index),
        "read": lambda: hash_features(index),
        "shard": lambda: read_entries(path),
        "verify shard": lambda: verify_shard(path),
        "stale": lambda: find_stale(features, ROWS, KEYS, MediaFingerprints(folder)),
        "removable": lambda: is_deletable_corrupt_shard(path, "audio", KEYS["audio"]),
        "catalog": lambda: read_catalog(features, "audio", KEYS["audio"], verify=True),
        "new index": lambda: write_index(folder / "new.h5", ROWS, features, KEYS),
        "rewritten index": lambda: write_index(index, ROWS, features, KEYS, pack="packed" in file),
    }


def first_error(folder: Path, file: str, expected: dict[str, str]) -> str:
    """Read the file in every way; return the first error, or an empty string."""
    for name, read in readers(folder, file).items():
        try:
            result = read()
        except FoalError as error:
            if not str(error) or len(str(error)) > 4000:
                return f"{name}: a message of {len(str(error))} characters"
        except BaseException as error:
            return f"{name}: {type(error).__name__}: {error}"[:1000]
        else:
            if name == "read" and any(expected.get(stream, value) != value for stream, value in result.items()):
                return f"{name}: other values"
    return ""


def main(folder: Path, memory: int) -> None:
    """Read the cases of standard input. The memory limit is added to what Python and the libraries already use."""
    expected = hash_features(folder / "intact" / "feats.h5")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for line in sys.stdin:
        number, _, file = json.loads(line)
        print(json.dumps([number, first_error(folder / str(number), file, expected)]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
