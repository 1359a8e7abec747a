"""Checks that a corpus root contains the files of the manifest, and looks for the right root nearby."""

import itertools
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from ..errors import FoalError
from ..text import counted
from .unicode_names import locate

FIRST_FILES = 20
"""Files that are looked for in other folders."""

MAX_FOLDERS = 500
"""Folders of the root that are tried as the root."""


def check_corpus_root(root: Path, media: Iterable[str], manifest: Path) -> None:
    """Check, before any work is done, that some of a manifest's files exist.

    Args:
        root: the corpus root.
        media: paths of the manifest, relative to the root.
        manifest: the manifest, for the message.

    Raises:
        FoalError: none exists; the message has the first path that was tried and, if the files are in a folder of the
            root or in its parent, that folder.
    """
    paths = list(dict.fromkeys(path for path in media if path))
    expected = f"expected the corpus root (--root, key corpus.root) of the paths in {manifest}"
    if root.is_dir():
        # Usually the first one exists.
        if not paths or any(locate(root, path).exists() for path in paths):
            return
        found = f"but none of the {counted(len(paths), 'file')} exists below it; tried {root / paths[0]}"
    else:
        found = "but it does not exist"
    better = _better_root(root, paths[:FIRST_FILES])
    advice = f"did you mean --root {better}?" if better else "give the folder that these paths are relative to"
    raise FoalError(f"{root}: {expected}, {found}; {advice}")


def _better_root(root: Path, media: Sequence[str]) -> Path | None:
    """The folder one level above or below the root in which most of the files exist; None without one."""
    folders: list[Path] = []
    with suppress(OSError):
        # A root that was given as "." has no parent in its name.
        folders.append(root.parent if root.name else root / os.pardir)
    with suppress(OSError):
        folders += sorted(itertools.islice((path for path in root.iterdir() if path.is_dir()), MAX_FOLDERS))
    hits = {folder: sum(locate(folder, path).exists() for path in media) for folder in folders}
    best = max(hits, key=lambda folder: hits[folder], default=None)
    return best if best is not None and hits[best] else None
