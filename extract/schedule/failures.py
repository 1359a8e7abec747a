"""failures.csv of each split: what could not be extracted and why; it is not tried again before something changes."""

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from ...shared.config.settings import Settings
from ...shared.errors import FoalError
from ...shared.files.atomic import remove, replaced_atomically, write_rows
from ...shared.utterance import Utterance, split_folder, splits_of
from ..media.media_group import fingerprint_of
from .plan import Chunk
from .stream_spec import Recipe

MEND = "mend or replace the file, or take the row out of the manifest; then run the same command again"


CHECK = "check the encoder's weights and extract.precision; --retry-failed tries it again"


DIED = (
    "convert the file (for example with ffmpeg) or take the row out of the manifest; if memory was short, let fewer "
    "workers share it (--workers), and try it again with --retry-failed"
)


HUNG = (
    "copy or convert the file, or take the row out of the manifest; if disk or machine were only slow, raise "
    "extract.task_timeout, and try it again with --retry-failed"
)


CHANGED = "changed"
"""The fingerprint of a file that changed while it was read: no file has it, so the utterance is tried again."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An utterance that could not be extracted: in which stream, from which file, why, and what to do.

    `source` is the stretch of the file and `fingerprint` what the file then was ("": it could not be read).
    """

    id: str
    split: str
    stream: str
    media: str
    reason: str
    remedy: str
    source: str
    fingerprint: str

    def state(self, key: str) -> str:
        """What it was that failed, with the encoder of this `key`: while that is the same, so will be the outcome."""
        return state_of(key, self.source, self.fingerprint)


@dataclass(frozen=True, kw_only=True)
class ChunkResult:
    """What became of a chunk, and the seconds that it took its worker."""

    chunk: Chunk
    frames: int
    failures: tuple[Failure, ...]
    took: float = 0.0


def failure_of(chunk: Chunk, utterance: Utterance, reason: str, fingerprint: str, *, remedy: str = MEND) -> Failure:
    """The failure of one of a chunk's utterances."""
    return Failure(
        id=utterance.id,
        split=chunk.split,
        stream=chunk.stream,
        media=utterance.media(chunk.modality),
        reason=reason,
        remedy=remedy,
        source=utterance.source(chunk.modality),
        fingerprint=fingerprint,
    )


FILE = "failures.csv"
COLUMNS = ("id", "split", "stream", "media", "reason", "remedy", "state")

Row = dict[str, str]


class Quarantine:
    """What earlier runs put into the failures.csv of some splits; what is taken out of these files is tried again."""

    def __init__(self, settings: Settings, utterances: Iterable[Utterance]) -> None:
        """Read them; a file that is missing or was garbled quarantines nothing.

        Raises FoalError if none can be written there, which would only be noticed when all is done.
        """
        self._settings = settings
        self._folder = {split: settings.extract.features_dir / split_folder(split) for split in splits_of(utterances)}
        for folder in self._folder.values():
            _check(folder / FILE)
        self._rows = {split: _read(folder / FILE) for split, folder in self._folder.items()}

    def standing(self, utterance: Utterance, recipe: Recipe) -> Failure | None:
        """Why an utterance failed in a stream, where neither file nor row nor encoder have changed since."""
        row = self._rows[utterance.split].get((utterance.id, recipe.stream))
        if row is None:
            return None
        media, source = utterance.media(recipe.modality), utterance.source(recipe.modality)
        fingerprint = self.fingerprint(media)
        if row["state"] != state_of(recipe.header.config_hash, source, fingerprint):
            return None
        return Failure(
            id=utterance.id,
            split=utterance.split,
            stream=recipe.stream,
            media=media,
            reason=row["reason"],
            remedy=row["remedy"],
            source=source,
            fingerprint=fingerprint,
        )

    def write(
        self,
        utterances: Sequence[Utterance],
        failures: Iterable[Failure],
        keys: Mapping[str, str],
        *,
        ended: bool = True,
    ) -> None:
        """Write what failed of the streams of this run (`keys`: theirs); none, no file. Rows of other streams stay.

        Of a run that has not `ended` well all rows stay: it may not have come to what it was to try again. Raises
        FoalError.
        """
        by_split: dict[str, dict[tuple[str, str], Row]] = {split: {} for split in self._folder}
        for split, members in splits_of(utterances).items():
            ids = {utterance.id for utterance in members}
            for (name, stream), row in self._rows[split].items():
                if name in ids and (stream not in keys or not ended):
                    by_split[split][name, stream] = row
        for f in failures:
            by_split[f.split][f.id, f.stream] = {
                "id": f.id,
                "split": f.split,
                "stream": f.stream,
                "media": f.media,
                "reason": f.reason,
                "remedy": f.remedy,
                "state": f.state(keys[f.stream]),
            }
        for split, rows in by_split.items():
            path = self._folder[split] / FILE
            if rows:
                with (
                    replaced_atomically(path) as temporary,
                    temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
                ):
                    write_rows(file, COLUMNS, [[row[name] for name in COLUMNS] for _, row in sorted(rows.items())])
            else:
                remove(path)

    def fingerprint(self, media: str) -> str:
        """What a file, by its path in the manifest, is now."""
        return fingerprint_of(self._settings.corpus.root / media if media else None, self._settings.extract)


def _check(path: Path) -> None:
    if os.path.lexists(path) and not (os.path.isfile(path) or os.path.islink(path)):
        what = "a folder" if os.path.isdir(path) else "a pipe or a device"
        raise FoalError(
            f"{path}: expected the list of what could not be extracted, or nothing, got {what}; move it away, then run "
            "the same command again"
        )


def _read(path: Path) -> dict[tuple[str, str], Row]:
    with suppress(OSError, UnicodeDecodeError, csv.Error):
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                rows = [row for row in csv.DictReader(file) if all(isinstance(row.get(name), str) for name in COLUMNS)]
            return {(row["id"], row["stream"]): {name: row[name] for name in COLUMNS} for row in rows}
    return {}


def state_of(key: str, source: str, fingerprint: str) -> str:
    """A hash of all on which it depends whether an utterance can be extracted."""
    return blake2b(json.dumps([key, source, fingerprint]).encode(), digest_size=8).hexdigest()
