"""Verifies a features folder, shard or index in one call, for tests of what writes and reads them."""

from pathlib import Path

from foal.shared.store.verify import Problem, collect_files, verify_files


def verify_target(target: Path) -> tuple[int, list[Problem]]:
    """The number of verified files and the problems."""
    checks = collect_files([target])
    return len(checks), verify_files(checks)
