"""failures.csv of each split: what could not be extracted and why; it is retried only after something changed.

A part of an extraction writes a file of its own, failures.part-I-of-N.csv. It covers all utterances of the part: their
rows in other files no longer count. Whole runs and `foal index` merge these files into failures.csv.
"""

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
from ...shared.files.overwrite import check_overwrite
from ...shared.files.part import Part, part_files, part_name
from ...shared.files.unicode_names import locate
from ...shared.utterance import Utterance, split_folder, splits_of
from ..media.media_group import fingerprint_of
from .plan import Chunk, in_part
from .stream_spec import StreamSpec

REMEDY_MEDIA = "repair or replace the file, or remove the row from the manifest; then run the same command again"

REMEDY_VALUES = "check the encoder's weights and extract.precision; retry with --retry-failed"

REMEDY_WORKER_DIED = (
    "convert the file (for example with ffmpeg) or remove the row from the manifest; if memory was short, run fewer "
    "workers (--workers) and retry with --retry-failed"
)

REMEDY_TIMEOUT = (
    "copy or convert the file, or remove the row from the manifest; if the disk or the machine was only slow, raise "
    "extract.task_timeout and retry with --retry-failed"
)

CHANGED = "changed"
"""The fingerprint of a file that changed while it was read. No file has it, so the utterance is always retried."""

FOUND = "their files could not be read then, and exist under this root"
OTHER_CHANGE = "their files, rows or settings changed since"
"""Reasons for trying failed utterances again."""

FAILURES_NAME = "failures.csv"
COLUMNS = ("id", "split", "stream", "media", "reason", "remedy", "state")

Row = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An utterance that could not be extracted: in which stream, from which file, why, and what to do.

    `source` is the segment of the file, `fingerprint` the file's fingerprint at that time ("": it could not be read).
    """

    id: str
    split: str
    stream: str
    media: str
    reason: str
    remedy: str
    source: str
    fingerprint: str

    def state(self, config_hash: str) -> str:
        """A hash of everything that the failure depends on; `config_hash` is that of the stream."""
        return failure_state(config_hash, self.source, self.fingerprint)


@dataclass(frozen=True, kw_only=True)
class ChunkResult:
    """What a worker reports of a chunk: frames in its shard, failed utterances, and the seconds that it took."""

    frames: int
    failures: tuple[Failure, ...]
    took: float = 0.0


def build_failure(
    chunk: Chunk, utterance: Utterance, reason: str, fingerprint: str, *, remedy: str = REMEDY_MEDIA
) -> Failure:
    """Describe the failure of one of a chunk's utterances."""
    return Failure(
        id=utterance.id,
        split=chunk.split,
        stream=chunk.stream,
        media=utterance.media(chunk.modality),
        reason=reason,
        remedy=remedy,
        source=chunk.source(utterance),
        fingerprint=fingerprint,
    )


def failure_state(config_hash: str, source: str, fingerprint: str) -> str:
    """A hash of the encoder, the segment and the file: while it is the same, a retry would fail again."""
    return blake2b(json.dumps([config_hash, source, fingerprint]).encode(), digest_size=8).hexdigest()


def check_failure_limit(settings: Settings, failures: Sequence[Failure], utterance_count: int) -> None:
    """Raise FoalError if more utterances failed than extract.max_failures allows."""
    failed = {failure.id for failure in failures}
    if len(failed) > settings.extract.failures_allowed(utterance_count):
        raise FoalError(
            f"{len(failed)} of {utterance_count} utterances failed, more than --max-failures "
            f"{settings.extract.max_failures} allows; the run was stopped. The last: {failures[-1].id}: "
            f"{failures[-1].reason}\nFinished work is kept; the failures.csv of each session lists all failures, with "
            "remedies."
        )


class Quarantine:
    """The failures that earlier runs recorded in failures.csv. Rows that a user deletes there are retried."""

    def __init__(self, settings: Settings, utterances: Iterable[Utterance], part: Part | None = None) -> None:
        """Read the files of the utterances' splits, those of all parts included.

        A missing or unreadable file quarantines nothing.

        Args:
            settings: where features and corpus are.
            utterances: the utterances of the run.
            part: the part that the run extracts; None: it is a whole run.

        Raises:
            UsageError: a file cannot be written later because a folder or a device has its name.
        """
        self._settings = settings
        self._part = part
        by_split = splits_of(utterances)
        self._folders = {split: settings.extract.features_dir / split_folder(split) for split in by_split}
        for folder in self._folders.values():
            check_overwrite(
                folder / part_name(FAILURES_NAME, part),
                kind="a list of failures",
                is_ours=_is_file_or_link,
                remedy="move or delete it, then run the same command again",
            )
        self._rows = {split: _merged_rows(folder, by_split[split]) for split, folder in self._folders.items()}

    def known_failure(self, utterance: Utterance, spec: StreamSpec) -> Failure | None:
        """The recorded failure of an utterance, or None if the file, the row or the encoder changed since."""
        row = self._rows[utterance.split].get((utterance.id, spec.stream))
        if row is None:
            return None
        media = utterance.media(spec.modality)
        source = utterance.source(spec.modality, spec.context)
        fingerprint = self.fingerprint(media)
        if row["state"] != failure_state(spec.config_hash, source, fingerprint):
            return None
        return Failure(
            id=utterance.id,
            split=utterance.split,
            stream=spec.stream,
            media=media,
            reason=row["reason"],
            remedy=row["remedy"],
            source=source,
            fingerprint=fingerprint,
        )

    def retry_reason(self, utterance: Utterance, spec: StreamSpec) -> str:
        """Why an utterance that failed before is tried again; "" if it did not fail, or is not tried again."""
        row = self._rows[utterance.split].get((utterance.id, spec.stream))
        if row is None or self.known_failure(utterance, spec) is not None:
            return ""
        if row["state"] == failure_state(spec.config_hash, utterance.source(spec.modality, spec.context), ""):
            return FOUND
        return OTHER_CHANGE

    def write(self, failures: Iterable[Failure], config_hashes: Mapping[str, str], *, completed: bool = True) -> None:
        """Write the failures.csv of each split, without rows of other utterances; a split without failures gets none.

        A whole run also removes the files of parts, whose rows were read. A part writes its own file, which is empty if
        the failures that other files list for its utterances are gone.

        Args:
            failures: what failed in this run.
            config_hashes: the config hash of each stream of this run; rows of other streams stay.
            completed: False if the run was ended early. All rows then stay, because the run may not have retried them.

        Raises:
            FoalError: a file cannot be written or removed.
        """
        by_split = {
            split: {key: row for key, row in rows.items() if key[1] not in config_hashes or not completed}
            for split, rows in self._rows.items()
        }
        for failure in failures:
            by_split[failure.split][failure.id, failure.stream] = {
                "id": failure.id,
                "split": failure.split,
                "stream": failure.stream,
                "media": failure.media,
                "reason": failure.reason,
                "remedy": failure.remedy,
                "state": failure.state(config_hashes[failure.stream]),
            }
        for split, rows in by_split.items():
            folder = self._folders[split]
            path = folder / part_name(FAILURES_NAME, self._part)
            if rows or (self._part is not None and self._rows[split]):
                with (
                    replaced_atomically(path) as temporary,
                    temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
                ):
                    write_rows(file, COLUMNS, [[row[name] for name in COLUMNS] for _, row in sorted(rows.items())])
            elif self._part is None:
                remove(path)
            if self._part is None:
                for merged in part_files(folder, FAILURES_NAME):
                    remove(merged)

    def fingerprint(self, media: str) -> str:
        """The current fingerprint of a file, given by its path in the manifest."""
        return fingerprint_of(locate(self._settings.corpus.root, media) if media else None, self._settings.extract)


def merge_part_failures(settings: Settings, manifest: Iterable[Utterance]) -> list[Path]:
    """Merge the files of parts into the failures.csv of each split; the caller holds the features folder.

    Returns the files that were written. Raises FoalError if a file cannot be written or removed.
    """
    features = settings.extract.features_dir
    utterances = [
        utterance
        for split, members in splits_of(manifest).items()
        if part_files(features / split_folder(split), FAILURES_NAME)
        for utterance in members
    ]
    Quarantine(settings, utterances).write((), {})
    paths = [features / split_folder(split) / FAILURES_NAME for split in splits_of(utterances)]
    return [path for path in paths if path.exists()]


def _merged_rows(folder: Path, utterances: Iterable[Utterance]) -> dict[tuple[str, str], Row]:
    """The rows of some utterances in failures.csv, and in the files of parts, which replace those of failures.csv."""
    listed, of_parts = _read_rows(folder / FAILURES_NAME), part_files(folder, FAILURES_NAME)
    by_id = {utterance.id: utterance for utterance in utterances} if listed or of_parts else {}
    rows = {key: row for key, row in listed.items() if key[0] in by_id}
    # Of two files about the same utterances, with different numbers of parts, the later one counts.
    for path, part in sorted(of_parts.items(), key=lambda item: _modified(item[0])):
        earlier = {key: row for key, row in rows.items() if not in_part(by_id[key[0]], part)}
        rows = earlier | {key: row for key, row in _read_rows(path).items() if key[0] in by_id}
    return rows


def _modified(path: Path) -> int:
    """The modification time of a file in nanoseconds; 0 if it was removed meanwhile."""
    with suppress(OSError):
        return path.stat().st_mtime_ns
    return 0


def _is_file_or_link(path: Path) -> bool:
    return os.path.isfile(path) or os.path.islink(path)


def _read_rows(path: Path) -> dict[tuple[str, str], Row]:
    """The rows of a failures.csv by id and stream; none if the file cannot be read."""
    with suppress(OSError, UnicodeDecodeError, csv.Error):
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                rows = [row for row in csv.DictReader(file) if all(isinstance(row.get(name), str) for name in COLUMNS)]
            return {(row["id"], row["stream"]): {name: row[name] for name in COLUMNS} for row in rows}
    return {}
