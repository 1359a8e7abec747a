"""Folders that appear complete or not at all: written under a hidden name next to the target, then renamed."""

import glob
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .atomic import TEMPORARY_PREFIX, temporary_is_stale, temporary_name

PREVIOUS = "previous-"
"""Marks the hidden name of a folder that is moved aside while it is replaced."""


@contextmanager
def folder_written_atomically(path: Path) -> Iterator[Path]:
    """Yield a hidden folder next to `path`, which becomes `path` when the block ends without an error.

    An existing folder or file of that name is replaced then; after an error it stays and the hidden folder is removed.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    work = temporary_name(path)
    work.mkdir()
    try:
        yield work
        publish_folder(work, path)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def publish_folder(work: Path, path: Path) -> None:
    """Rename `work` to `path`; an existing folder is moved aside first, and put back if the renaming fails."""
    previous = temporary_name(path.with_name(f"{PREVIOUS}{path.name}"))
    try:
        if path.exists():
            path.rename(previous)
        work.rename(path)
    finally:
        if previous.exists() and not path.exists():
            previous.rename(path)
        if previous.is_dir():
            shutil.rmtree(previous, ignore_errors=True)
        else:
            previous.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left of `path`; a folder that one of them had moved aside is put back."""
    for leftover in sorted(path.parent.glob(f"{TEMPORARY_PREFIX}*~{glob.escape(path.name)}")):
        # The name of another folder may itself contain "~" and this one's name.
        if leftover.name.split("~", 2)[2:] == [path.name] and temporary_is_stale(leftover):
            shutil.rmtree(leftover)
    previous_name = f"{PREVIOUS}{path.name}"
    for leftover in sorted(path.parent.glob(f"{TEMPORARY_PREFIX}*~{glob.escape(previous_name)}")):
        if leftover.name.split("~", 2)[2:] != [previous_name] or not temporary_is_stale(leftover):
            continue
        if path.exists():
            shutil.rmtree(leftover)
        else:
            leftover.rename(path)
