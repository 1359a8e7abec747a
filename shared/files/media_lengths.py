"""Remembers the lengths of media files, so that planning reads the header of each file once."""

import csv
from contextlib import suppress
from pathlib import Path

from ..errors import FoalError
from ..timing import Seconds
from .atomic import replaced_atomically, write_rows
from .unicode_names import nfc

MEDIA_LENGTHS = "media-lengths.csv"
"""File in the features folder: lengths of the media whose rows have no `end`, with the fingerprints they belong to."""

COLUMNS = ("media", "fingerprint", "seconds")


class MediaLengths:
    """The lengths in the MEDIA_LENGTHS of a features folder; a missing or damaged file remembers nothing."""

    def __init__(self, features: Path) -> None:
        self._table = features / MEDIA_LENGTHS
        self._known: dict[str, tuple[str, Seconds]] | None = None
        self._added: dict[str, tuple[str, Seconds]] = {}

    def find(self, media: str, fingerprint: str) -> Seconds | None:
        """The length of a file that has this fingerprint (size and time); None if it is not known."""
        if self._known is None:
            self._known = _read(self._table)
        recorded, seconds = self._known.get(nfc(media), ("", 0.0))
        return seconds if fingerprint and recorded == fingerprint else None

    def add(self, media: str, fingerprint: str, seconds: Seconds) -> None:
        """Remember the length of a file; a length of 0 or a file without a fingerprint is not remembered."""
        if fingerprint and seconds > 0:
            self._added[nfc(media)] = fingerprint, seconds

    def remember(self) -> None:
        """Write what was added, if the folder has folders of splits and can be written.

        A features folder that is still empty stays empty: it is removed again if the run fails.
        """
        if not self._added or not any(self._table.parent.glob("*/")):
            return
        rows = _read(self._table) | self._added
        with (
            suppress(FoalError),
            replaced_atomically(self._table) as temporary,
            temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
            write_rows(file, COLUMNS, [[media, *row] for media, row in sorted(rows.items())])
        self._added = {}


def _read(path: Path) -> dict[str, tuple[str, Seconds]]:
    """Fingerprint and length by media file; empty if the file is missing or is not such a table."""
    with (
        suppress(OSError, ValueError, csv.Error),
        path.open(encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        rows = csv.reader(file)
        if next(rows, None) == list(COLUMNS):
            return {row[0]: (row[1], float(row[2])) for row in rows if len(row) == 3}
    return {}
