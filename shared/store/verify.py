"""Verifies features folders, shards and indexes byte by byte."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from ..config.settings import INDEX_NAME
from ..errors import FoalError, StoreError
from ..files.atomic import TEMPORARY_PREFIX
from ..files.lock import LOCK_NAME
from ..files.media_lengths import MEDIA_LENGTHS
from ..files.media_state import MEDIA_TIMES
from ..files.part import split_part_name
from ..hdf5.opening import sniff
from ..hdf5.seal import BytesRead
from ..text import quoted, shortened
from .catalog import CATALOG_NAME, SHORT_HASH_LENGTH
from .entry import finite
from .feature_store import FeatureStore
from .shard import FORMAT as SHARD_FORMAT
from .shard import ShardReader, damage_in

Problem = tuple[Path, str]
"""A file and its problem."""

OTHER_FILES = frozenset({"failures.csv", ".gitignore", LOCK_NAME, MEDIA_TIMES, MEDIA_LENGTHS, CATALOG_NAME})
"""Files other than shards that foal and DVC (.gitignore) write to a features folder."""

MAX_THREADS = 8
"""Reading and hashing overlap: more threads are not faster."""

_BLOCK_BYTES = 8 * 2**20
"""Bytes of packed values that are verified at a time."""


@dataclass(frozen=True, kw_only=True)
class FileCheck:
    """A file to verify; a file of kind "other" is not read, and reported if it has a `reason`."""

    path: Path
    kind: Literal["shard", "index", "other"]
    in_folder: bool = False
    reason: str = ""

    @property
    def size(self) -> int:
        """Bytes to be read."""
        try:
            return os.stat(self.path).st_size if self.kind != "other" and self.path.is_file() else 0
        except OSError:
            return 0


def collect_files(targets: Sequence[Path]) -> list[FileCheck]:
    """List the files to verify in folders, shards and indexes, each once, with the shards of the indexes.

    Raises FoalError for a target that does not exist.
    """
    checks: dict[Path, FileCheck] = {}
    for target in targets:
        if os.path.isdir(target):
            in_target = _in_folder(target)
        elif os.path.lexists(target):
            in_target = iter([FileCheck(path=target, kind="shard" if _is_shard(target) else "index")])
        else:
            raise FoalError(f"{target}: expected a feats.h5, a shard or a folder of shards, but there is no such file")
        for check in in_target:
            checks.setdefault(check.path.absolute(), check)
    for check in [check for check in checks.values() if check.kind == "index"]:
        for path in _shards_of(check.path):
            checks.setdefault(path.absolute(), FileCheck(path=path, kind="shard"))
    return list(checks.values())


def verify_files(checks: Sequence[FileCheck], on_bytes: BytesRead = lambda count: None) -> list[Problem]:
    """Verify files, shards in threads.

    Args:
        checks: the files.
        on_bytes: called with the number of bytes read, from any thread.

    Returns:
        The problems, in the order of the files.
    """
    intact: dict[Path, ShardReader] = {}
    pool = ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1))
    try:
        verify_shard_file = partial(_verify_shard, intact=intact, on_bytes=on_bytes)
        of_shards = list(pool.map(verify_shard_file, [check for check in checks if check.kind == "shard"]))
    finally:
        pool.shutdown(cancel_futures=True)
    reported = {path.absolute() for problems in of_shards for path, _ in problems}
    next_shard = iter(of_shards)
    problems: list[Problem] = []
    for check in checks:
        if check.kind == "shard":
            problems += next(next_shard)
        elif check.kind == "index":
            reported.update(path.absolute() for path, _ in problems)
            problems += _verify_index(check.path, intact, reported, on_bytes)
        elif check.reason:
            problems.append((check.path, check.reason))
    return list(dict.fromkeys(problems))


def _in_folder(folder: Path) -> Iterator[FileCheck]:
    """All files below a folder, sorted; linked folders are not followed."""
    unreadable: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=unreadable.append):
        folders.sort()
        for name in sorted(names):
            yield _file_check(Path(place, name))
    for error in unreadable:
        yield FileCheck(path=Path(error.filename), kind="other", reason=f"cannot be read: {error.strerror}")


def _file_check(path: Path) -> FileCheck:
    if path.name.startswith(TEMPORARY_PREFIX):
        reason = "left over from a run that was killed; the next `foal extract` removes it"
        return FileCheck(path=path, kind="other", reason=reason)
    if path.name == INDEX_NAME:
        return FileCheck(path=path, kind="index")
    if path.suffix == ".h5":
        return FileCheck(path=path, kind="shard", in_folder=True)
    is_known = split_part_name(path.name)[0] in OTHER_FILES
    return FileCheck(path=path, kind="other", reason="" if is_known else "not written by foal")


def _is_shard(path: Path) -> bool:
    try:
        identity = sniff(path)
    except (OSError, StoreError):
        return False
    return identity is not None and identity.format == SHARD_FORMAT


def _shards_of(index: Path) -> list[Path]:
    """The shards of an index, without those outside its folder."""
    try:
        with FeatureStore(index) as store:
            return [path for number, path in enumerate(store.shards.paths) if not store.shards.is_outside(number)]
    except StoreError:
        return []


def _verify_shard(check: FileCheck, intact: dict[Path, ShardReader], on_bytes: BytesRead) -> list[Problem]:
    """The problems of a shard; a shard without any is added to `intact`."""
    path = check.path
    try:
        with ShardReader(path, whole=True, on_bytes=on_bytes) as shard:
            reasons = damage_in(shard)
            header = shard.header
            folder_name = f"{header.modality}-{header.config_hash[:SHORT_HASH_LENGTH]}"
            if check.in_folder and path.absolute().parent.name != folder_name:
                actual = shortened(f"{header.modality}-{header.config_hash}", 140)
                reasons.append(f"expected a shard of this folder, got one of {actual}")
            if not reasons:
                intact[path.absolute()] = shard
    except StoreError as error:
        reasons = [str(error).removeprefix(f"{path}: ")]
    return [(path, reason) for reason in reasons]


def _verify_index(
    path: Path, intact: Mapping[Path, ShardReader], reported: set[Path], on_bytes: BytesRead
) -> list[Problem]:
    """The problems of an index and of its shards, without shards that are `reported` already."""
    try:
        with FeatureStore(path, verify_up_to_bytes=float("inf"), on_bytes=on_bytes) as store:
            return verify_values(store) if store.packed_inside else _verify_locations(store, intact, reported)
    except StoreError as error:
        return [(path, str(error).removeprefix(f"{path}: "))]


def _verify_locations(store: FeatureStore, intact: Mapping[Path, ShardReader], reported: set[Path]) -> list[Problem]:
    """Compare the rows of an index with its shards, whose values were compared with their own checksums before."""
    problems: list[Problem] = []
    for number, path in enumerate(store.shards.paths):
        reader = intact.get(path.absolute())
        if path.absolute() in reported:
            continue
        try:
            if reader is None:
                store.shards.open(number).close()
            else:
                store.shards.check_same(number, reader)
        except StoreError as error:
            problems.append((path, str(error).removeprefix(f"{path}: ")))
    replaced = {path for path, _ in problems}
    readers = [None if path in replaced else intact.get(path.absolute()) for path in store.shards.paths]
    for name in store.streams:
        stream = store.stream(name)
        columns = (stream.shard, stream.row, stream.offset, stream.length, stream.origins, stream.checksums)
        for utterance, number, row, offset, length, *recorded in zip(store.utterances, *columns, strict=True):
            reader = readers[number]
            if reader is not None and not (
                row < len(reader)
                and (reader.ids[row], reader.offsets[row], reader.offsets[row + 1])
                == (utterance.id, offset, offset + length)
                and [reader.origins[row], reader.checksums[row]] == recorded
            ):
                path = store.shards.paths[number]
                problems.append((store.path, f"its {name} row of {quoted(utterance.id)} does not match {path}"))
    return problems


def verify_values(store: FeatureStore) -> list[Problem]:
    """Read every utterance of an index, compare it with its checksum, and look for NaN and infinity."""
    problems: list[Problem] = []
    for name in store.streams:
        for rows in _blocks(store, name):
            try:
                intact = finite(store.packed(name, rows).values)
            except StoreError:
                intact = False
            if not intact:
                problems += [problem for row in rows for problem in _row_problems(store, name, row)]
    return problems


def _blocks(store: FeatureStore, name: str) -> Iterator[list[int]]:
    """The rows of a stream in the order of the files, in blocks of about _BLOCK_BYTES."""
    stream = store.stream(name)
    frame_bytes = int(np.prod(stream.info.frame_shape)) * np.dtype(stream.info.dtype).itemsize
    order = np.lexsort((stream.offset, stream.shard))
    block = np.cumsum(stream.length[order]) * frame_bytes // _BLOCK_BYTES
    cuts = np.flatnonzero((np.diff(block) != 0) | (np.diff(stream.shard[order]) != 0)) + 1
    yield from (rows.tolist() for rows in np.split(order, cuts) if len(rows))


def _row_problems(store: FeatureStore, name: str, row: int) -> list[Problem]:
    path = store.file_of(name, row)
    try:
        if finite(store.packed(name, [row]).values):
            return []
    except StoreError as error:
        return [(path, str(error).removeprefix(f"{path}: "))]
    return [(path, f"the {name} values of utterance {quoted(store.utterances[row].id)} are NaN or infinite")]
