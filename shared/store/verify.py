"""Checks features folders and indexes byte by byte, and names what is wrong."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import StoreError, UsageError
from ..files.atomic import TEMPORARY_PREFIX
from ..hdf5.opening import sniff
from ..hdf5.seal import BytesRead
from ..text import quoted, shortened
from .catalog import SHORT_HASH_LENGTH
from .feature_store import FeatureStore
from .shard import FORMAT as SHARD_FORMAT
from .shard import ShardReader, damage_in

Problem = tuple[Path, str]

OUR_OTHER_FILES = frozenset({"feats.h5", "failures.csv", ".gitignore", ".foal.lock"})
"""What may lie beside the splits or in one of them; .gitignore is DVC's, the last one tells who is extracting."""

THREADS = 8
"""That read at a time, at most: reading and hashing run beside each other."""


@dataclass(frozen=True, kw_only=True)
class FileCheck:
    """A file to be checked: a shard, an index, or one of which it is known already what is wrong (`reason`)."""

    path: Path
    kind: str
    in_folder: bool = False
    reason: str = ""

    @property
    def size(self) -> int:
        """Bytes to be read."""
        try:
            return os.stat(self.path).st_size if self.kind and self.path.is_file() else 0
        except OSError:
            return 0


def verify_target(target: Path) -> tuple[int, list[Problem]]:
    """Check a folder of shards, one shard, or a feats.h5; gives the number of files looked at and what is wrong."""
    jobs = collect_files([target])
    return len(jobs), verify_files(jobs)


def collect_files(targets: Sequence[Path]) -> list[FileCheck]:
    """What there is to check in folders, shards and indexes, each file once, the shards of the indexes included.

    Raises UsageError for a target that is not there.
    """
    jobs: dict[Path, FileCheck] = {}
    for target in targets:
        if os.path.isdir(target):
            found = _in_folder(target)
        elif os.path.lexists(target):
            found = iter([FileCheck(path=target, kind="shard" if _says_shard(target) else "index")])
        else:
            raise UsageError(f"{target}: expected a feats.h5, a shard or a folder of shards, got nothing there")
        for job in found:
            jobs.setdefault(job.path.absolute(), job)
    for job in [job for job in jobs.values() if job.kind == "index"]:
        for path in _shards_of(job.path):
            jobs.setdefault(path.absolute(), FileCheck(path=path, kind="shard"))
    return list(jobs.values())


def verify_files(jobs: Sequence[FileCheck], on_bytes: BytesRead = lambda count: None) -> list[Problem]:
    """What is wrong with them, in their order; `on_bytes` of the bytes that were read, from any thread."""
    seen: dict[Path, ShardReader] = {}
    pool = ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1))
    try:
        shards = pool.map(
            partial(_verify_shard, seen=seen, on_bytes=on_bytes), [job for job in jobs if job.kind == "shard"]
        )
        of_shards: list[list[Problem]] = list(shards)
    finally:
        pool.shutdown(cancel_futures=True)
    of_shard = iter(of_shards)
    problems: list[Problem] = []
    for job in jobs:
        if job.kind == "shard":
            problems += next(of_shard)
        elif job.kind == "index":
            named = {path.absolute() for path, _ in problems}.union(
                path.absolute() for found in of_shards for path, _ in found
            )
            problems += _verify_index(job.path, seen, named, on_bytes)
        elif job.reason:
            problems.append((job.path, job.reason))
    return list(dict.fromkeys(problems))


def _in_folder(folder: Path) -> Iterator[FileCheck]:
    """All but folders, sorted; a linked folder is never entered: inside the target it is looked at in its own place."""
    waiting, root = [folder], Path(os.path.realpath(folder))
    while waiting:
        path = waiting.pop()
        try:
            if path != folder and (not path.is_dir() or path.suffix == ".h5"):
                yield _job(folder, path)
            elif path == folder or not path.is_symlink():
                waiting += sorted(path.iterdir(), reverse=True)
            elif not Path(os.path.realpath(path)).is_relative_to(root):
                yield FileCheck(
                    path=path,
                    kind="",
                    reason=f"a symbolic link that leads out of {folder}, not followed; expected a folder in its place",
                )
        except OSError as error:
            yield FileCheck(
                path=path, kind="", reason=f"cannot be read: {error.strerror}; mend its permissions or its disk"
            )


def _job(folder: Path, path: Path) -> FileCheck:
    """What to do about something in a folder. Raises OSError."""
    parts = path.relative_to(folder).parts
    if not path.is_file():
        return FileCheck(
            path=path, kind="", reason="expected a file, got a folder, a pipe, a device or a link to nothing"
        )
    if path.name.startswith(TEMPORARY_PREFIX):
        return FileCheck(
            path=path, kind="", reason="left over from a run that was killed; the next `foal extract` removes it"
        )
    if parts == ("feats.h5",):
        return FileCheck(path=path, kind="index")
    if len(parts) <= 2 and path.name in OUR_OTHER_FILES:
        return FileCheck(path=path, kind="")
    if path.suffix != ".h5":
        return FileCheck(path=path, kind="", reason="a foreign file; expected only shards (*.h5) here")
    return FileCheck(path=path, kind="shard", in_folder=True)


def _says_shard(path: Path) -> bool:
    try:
        claim = sniff(path)
    except (OSError, StoreError):
        return False
    return claim is not None and claim.format == SHARD_FORMAT


def _shards_of(index: Path) -> list[Path]:
    try:
        with FeatureStore(index) as store:
            return [path for number, path in enumerate(store.shard_paths) if not store.shard_is_outside(number)]
    except StoreError:
        return []


def _verify_shard(job: FileCheck, seen: dict[Path, ShardReader], on_bytes: BytesRead) -> list[Problem]:
    """What is wrong with a shard; one in order is put among the `seen`."""
    path = job.path
    try:
        with ShardReader(path, whole=True, on_bytes=on_bytes) as shard:
            reasons = damage_in(shard)
            key = f"{shard.header.modality}-{shard.header.config_hash}"
            of_folder = f"{shard.header.modality}-{shard.header.config_hash[:SHORT_HASH_LENGTH]}"
            if job.in_folder and path.absolute().parent.name != of_folder:
                reasons.append(f"a shard of another folder, {shortened(key, 140)}")
            if not reasons:
                seen[path.absolute()] = shard
    except StoreError as error:
        reasons = [str(error).removeprefix(f"{path}: ")]
    return [(path, reason) for reason in reasons]


def _verify_index(path: Path, seen: Mapping[Path, ShardReader], named: set[Path], on_bytes: BytesRead) -> list[Problem]:
    """What is wrong with an index, and with its shards that are not among the `named` but not those it means."""
    try:
        with FeatureStore(path, verify_up_to_bytes=float("inf"), on_bytes=on_bytes) as store:
            return store.verify_packed_values() if store.packed_inside else _pointed_to(store, seen, named)
    except StoreError as error:
        return [(path, str(error).removeprefix(f"{path}: "))]


def _pointed_to(store: FeatureStore, seen: Mapping[Path, ShardReader], named: set[Path]) -> list[Problem]:
    """The values were compared with their shards' own checksums: what is left is that the index says the same."""
    problems: list[Problem] = []
    for number, path in enumerate(store.shard_paths):
        reader = seen.get(path.absolute())
        if path.absolute() in named:
            continue
        try:
            if reader is None:
                store.open_shard(number).close()
            else:
                store.check_shard(number, reader)
        except StoreError as error:
            problems.append((path, str(error).removeprefix(f"{path}: ")))
    another = {path for path, _ in problems}
    readers = [None if path in another else seen.get(path.absolute()) for path in store.shard_paths]
    for name in store.streams:
        stream = store.stream(name)
        columns = (stream.shard, stream.row, stream.offset, stream.length, stream.origins, stream.checksums)
        for utterance, number, row, offset, length, *says in zip(store.utterances, *columns, strict=True):
            reader = readers[number]
            if reader is not None and not (
                row < len(reader)
                and (reader.ids[row], reader.offsets[row], reader.offsets[row + 1])
                == (utterance.id, offset, offset + length)
                and [reader.origins[row], reader.checksums[row]] == says
            ):
                place = store.shard_paths[number]
                problems.append((store.path, f"its {name} row of {quoted(utterance.id)} is not that of {place}"))
    return problems
