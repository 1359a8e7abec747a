"""Which of a manifest's paths stay inside the corpus root."""

import os
from pathlib import Path

from ..text import quoted


class Inside:
    """Which paths stay below a folder; each folder on the way is resolved once."""

    def __init__(self, root: Path) -> None:
        self._root, self._folders = os.path.realpath(root), dict[str, str]()

    def escape_reason(self, media: str) -> str:
        """How a path leads out, in words; empty if it does not."""
        if os.path.isabs(media):
            return "which is absolute"
        if os.path.normpath(media).split(os.sep, 1)[0] == os.pardir:
            return "which leaves it through .."
        folder, name = os.path.split(media)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(os.path.join(self._root, folder))
        place = os.path.join(self._folders[folder], name)
        if name in (os.curdir, os.pardir) or os.path.islink(place):
            place = os.path.realpath(place)
        below = self._root.rstrip(os.sep) + os.sep
        return "" if (place + os.sep).startswith(below) else f"which a symbolic link leads to {quoted(place)}"
