"""Keeps paths from files inside a folder: a manifest's media in the corpus root, an index' shards in its folder."""

import os
from pathlib import Path

from ..text import quoted


class Inside:
    """Decides which relative paths stay inside `root`; each folder is resolved once."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.realpath(root)
        self._folders = dict[str, str]()

    def escape_reason(self, media: str) -> str:
        """How a path leaves the root, such as "which is absolute"; empty for a path that stays inside."""
        if os.path.isabs(media):
            return "which is absolute"
        if os.path.normpath(media).split(os.sep, 1)[0] == os.pardir:
            return "which leaves it through .."
        folder, name = os.path.split(media)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(os.path.join(self._root, folder))
        target = os.path.join(self._folders[folder], name)
        if name in (os.curdir, os.pardir) or os.path.islink(target):
            target = os.path.realpath(target)
        below = self._root.rstrip(os.sep) + os.sep
        return "" if (target + os.sep).startswith(below) else f"which leads to {quoted(target)} through a symbolic link"
