"""Compares the media files of a corpus with the fingerprints that are stored with their features."""

import csv
import logging
import os
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from rich.filesize import decimal

from ..errors import FoalError
from ..text import counted
from .atomic import replaced_atomically, write_rows
from .fingerprint import CONTENT, content_hash, media_fingerprint
from .unicode_names import locate, nfc

MEDIA_TIMES = "media-times.csv"
"""File in the features folder: content hashes of media whose modification time differs from the shards'."""

COLUMNS = ("media", "fingerprint", "content")

log = logging.getLogger(__name__)


class MediaState(StrEnum):
    """A media file compared with the fingerprint in a shard; the features count for the first two states."""

    SAME = "same"
    TIME_ONLY = "time only"
    SIZE = "media changed: size"
    CONTENT = "media changed: content"
    TIME = "media changed: time"
    """The shard has no content hash, so that it is unknown whether the content is the same."""


ACCEPTED = frozenset({MediaState.SAME, MediaState.TIME_ONLY})


class MediaFingerprints:
    """The fingerprints of the media files of a corpus, each computed once.

    A missing file counts as unchanged: features may be used on machines without their media. Where only the time of a
    file differs, as after a copy, its content is hashed once and compared with the hash in the shard.

    Args:
        root: the corpus root.
        features: the features folder, whose MEDIA_TIMES remembers content hashes between runs; None: no memory.
    """

    def __init__(self, root: Path, features: Path | None = None) -> None:
        self._root = root
        self._table = None if features is None else features / MEDIA_TIMES
        self._known: dict[tuple[str, bool], str] = {}
        self._paths: dict[str, Path] = {}
        self._remembered: dict[str, tuple[str, str]] | None = None
        self._compared: dict[str, tuple[str, str]] = {}
        self._bytes = 0

    def unchanged(self, media: str, recorded: str, content: str = "") -> bool:
        """Whether a file is the one that features were computed from; arguments as of `state`."""
        return self.state(media, recorded, content) in ACCEPTED

    def state(self, media: str, recorded: str, content: str = "") -> MediaState:
        """Compare a file with what is stored with its features.

        Args:
            media: the file, relative to the corpus root.
            recorded: the fingerprint stored with the features; its form (size and time, or content hash) decides what
                is compared.
            content: the content hash stored beside a fingerprint of size and time; "": none.
        """
        if not media or not recorded:
            return MediaState.SAME
        by_content = recorded.startswith(CONTENT)
        current = self._fingerprint(media, content=by_content)
        if current in ("", recorded):
            return MediaState.SAME
        if by_content:
            return MediaState.CONTENT
        if current.partition(":")[0] != recorded.partition(":")[0]:
            return MediaState.SIZE
        if not content:
            return MediaState.TIME
        return MediaState.TIME_ONLY if self._content(media, current) == content else MediaState.CONTENT

    def fingerprint(self, media: str) -> str:
        """The current size and time of a file as `<bytes>:<nanoseconds>`; empty if it is missing or unreadable."""
        return self._fingerprint(media, content=False)

    def same_file(self, media: str, other: str) -> bool:
        """Whether two paths lead to the same file: names in other case do on some file systems."""
        try:
            return os.path.samefile(self._path(media), self._path(other))
        except (OSError, ValueError):
            return False

    def remember(self) -> None:
        """Write the new content hashes to MEDIA_TIMES, so that the next run does not read these files again."""
        if self._table is None or not self._compared:
            return
        log.info(
            f"compared the content of {counted(len(self._compared), 'media file')} ({decimal(self._bytes)}) of which "
            f"only the time differs; the result is kept in {self._table}"
        )
        # Another command may have added rows meanwhile. Rows that two write at once cost one of them a comparison.
        rows = _read_table(self._table) | self._compared
        with (
            suppress(FoalError),  # a folder that cannot be written costs the next run another comparison
            replaced_atomically(self._table) as temporary,
            temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
            write_rows(file, COLUMNS, [[media, *row] for media, row in sorted(rows.items())])
        self._remembered = rows
        self._compared = {}
        self._bytes = 0

    def _path(self, media: str) -> Path:
        if media not in self._paths:
            self._paths[media] = locate(self._root, media)
        return self._paths[media]

    def _fingerprint(self, media: str, *, content: bool) -> str:
        if (media, content) not in self._known:
            self._known[media, content] = media_fingerprint(self._path(media), content=content)
        return self._known[media, content]

    def _content(self, media: str, fingerprint: str) -> str:
        """The content hash of a file with this fingerprint, remembered or computed."""
        if self._remembered is None:
            self._remembered = {} if self._table is None else _read_table(self._table)
        name = nfc(media)
        for table in (self._compared, self._remembered):
            if name in table and table[name][0] == fingerprint:
                return table[name][1]
        if not self._compared:
            log.info("the time of some media files differs from that in the shards; comparing their content")
        hashed = content_hash(self._path(media), fingerprint)
        if hashed:
            self._compared[name] = fingerprint, hashed
            self._bytes += int(fingerprint.partition(":")[0])
        return hashed


def _read_table(path: Path) -> dict[str, tuple[str, str]]:
    """Fingerprint and content hash by media file; empty if the file is missing or is not such a table."""
    with suppress(OSError, csv.Error), path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file)
        if next(rows, None) == list(COLUMNS):
            return {row[0]: (row[1], row[2]) for row in rows if len(row) == 3 and row[2].startswith(CONTENT)}
    return {}
