"""Checks features folders and indexes byte by byte, and names what is wrong."""

from pathlib import Path

from .errors import StoreError, UsageError
from .files import TEMPORARY_PREFIX
from .index import FeatureStore
from .shard import ShardReader, verify_shard

Problem = tuple[Path, str]

OUR_OTHER_FILES = frozenset({"feats.h5", "failures.csv", ".gitignore"})
"""What may lie beside the splits or in one of them; .gitignore is DVC's."""


def verify_target(target: Path) -> tuple[int, list[Problem]]:
    """Check a folder of shards, one shard, or a feats.h5; gives the number of files looked at and what is wrong."""
    if target.is_dir():
        return _verify_folder(target)
    if not target.exists():
        raise UsageError(f"{target}: expected a feats.h5, a shard or a folder of shards, got nothing there")
    try:
        with FeatureStore(target) as store:
            return _verify_index(store)
    except StoreError as error:
        if _is_shard(target):
            return 1, [(target, reason) for reason in verify_shard(target)]
        return 1, [(target, str(error).removeprefix(f"{target}: "))]


def _is_shard(path: Path) -> bool:
    try:
        ShardReader(path).close()
    except StoreError:
        return False
    return True


def _verify_folder(folder: Path) -> tuple[int, list[Problem]]:
    checked, problems = 0, []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        checked += 1
        if path.name.startswith(TEMPORARY_PREFIX):
            problems.append((path, "left over from a run that was killed; the next `foal extract` removes it"))
        elif len(path.relative_to(folder).parts) <= 2 and path.name in OUR_OTHER_FILES:
            continue
        elif path.suffix != ".h5":
            problems.append((path, "a foreign file; expected only shards (*.h5) here"))
        else:
            problems += [(path, reason) for reason in verify_shard(path)]
    return checked, problems


def _verify_index(store: FeatureStore) -> tuple[int, list[Problem]]:
    problems: list[Problem] = []
    for number, path in enumerate(store.shard_paths):
        try:
            store.open_shard(number).close()
        except StoreError as error:
            problems.append((path, str(error).removeprefix(f"{path}: ")))
        else:
            problems += [(path, reason) for reason in verify_shard(path)]
    damaged = {path for path, _ in problems}
    problems += [problem for problem in store.check_rows() if problem[0] not in damaged]
    return 1 + len(store.shard_paths), problems
