"""The manifest (CSV): reading, checking and writing it."""

import csv
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from .errors import ManifestError
from .files.atomic import replaced_atomically, write_rows
from .files.confinement import Inside
from .files.overwrite import check_overwrite
from .text import quoted, shortened
from .utterance import (
    ALL,
    COLUMNS,
    LONGEST_FOLDER,
    LONGEST_LINE,
    LONGEST_NAME,
    MOST_BYTES,
    MOST_PROBLEMS,
    NUMBERS,
    OPTIONAL,
    REQUIRED,
    Utterance,
    as_number,
    parse_crop,
    split_folder,
)


def read_manifest(path: Path) -> list[Utterance]:
    """Read and check a manifest, in its own order.

    Raises ManifestError with every bad line (the first twenty of them): file, line, column, expected, got.
    """
    try:
        _check_file(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read_rows(path, csv.DictReader(_lines(file), strict=True))
    except FileNotFoundError:
        raise ManifestError(f"{path}: there is no such manifest; `foal manifest --help` says how to make one") from None
    except OSError as error:
        raise ManifestError(f"{path}: expected a manifest (a CSV file); it cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: expected a CSV file in UTF-8, got bytes that are not ({error})") from None
    except csv.Error as error:
        raise ManifestError(f"{path}: cannot be read as CSV: {error}") from None
    except MemoryError:
        raise ManifestError(f"{path}: expected a manifest, got a file that the memory does not suffice for") from None


def _check_file(path: Path) -> None:
    """Raise ManifestError for what is there but no file, since a pipe may never answer, or too large."""
    if path.exists() and not path.is_file():
        raise ManifestError(f"{path}: expected a manifest (a CSV file), got a folder, a pipe or a device")
    if (size := path.stat().st_size) > MOST_BYTES:
        raise ManifestError(f"{path}: expected a manifest of {MOST_BYTES:,} bytes at most, got {size:,}")


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise csv.Error(f"expected lines of less than {LONGEST_LINE:,} characters")
        yield line


def _read_rows(path: Path, reader: "csv.DictReader[str]") -> list[Utterance]:
    """The rows, checked. Raises ManifestError, and what csv raises."""
    _check_header(path, reader.fieldnames)
    utterances: list[Utterance] = []
    problems: list[str] = []
    bad = 0
    line_of: dict[str, int] = {}
    for row in reader:
        problem = _row_problem(row)
        if problem is None and row["id"] in line_of:
            problem = f"id: expected unique ids, got {quoted(row['id'])} again (first on line {line_of[row['id']]})"
        if problem is None:
            line_of[row["id"]] = reader.line_num
            utterances.append(_from_row(row))
            continue
        bad += 1
        if bad <= MOST_PROBLEMS:
            problems.append(f"{path}, line {reader.line_num}, column {problem}")
    if problems:
        raise ManifestError("\n".join(problems) + _and_more(bad))
    if not utterances:
        raise ManifestError(f"{path}: the manifest is empty; expected one line per utterance below the header")
    return utterances


def _and_more(bad: int) -> str:
    return f"\n... and {bad - MOST_PROBLEMS} more" if bad > MOST_PROBLEMS else ""


def write_manifest(path: Path, utterances: Iterable[Utterance], *, force: bool = False) -> None:
    """Write a manifest, completely or not at all.

    Args:
        path: the CSV file; an existing manifest is replaced.
        utterances: its rows.
        force: replace a file that is not a manifest.

    Raises:
        ManifestError: rows that `read_manifest` would refuse.
        UsageError: `path` exists and is not a manifest.
    """
    check_overwrite(path, kind="a manifest", is_ours=_is_manifest, force=force)
    with replaced_atomically(path) as temporary:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            write_rows(file, COLUMNS, ([_to_text(getattr(u, column)) for column in COLUMNS] for u in utterances))
        try:
            read_manifest(temporary)
        except ManifestError as error:
            raise ManifestError(str(error).replace(str(temporary), str(path))) from None


def check_inside(utterances: Iterable[Utterance], root: Path, manifest: Path) -> None:
    """Raise ManifestError (the first twenty) for paths that lead outside the corpus root, by whatever way.

    The root may be a symbolic link itself; whether a file is there is not asked.
    """
    inside, bad, problems = Inside(root), 0, list[str]()
    for utterance in utterances:
        for column in ("audio", "video"):
            media = getattr(utterance, column)
            if media and (way := inside.escape_reason(media)):
                bad += 1
                if bad <= MOST_PROBLEMS:
                    problems.append(
                        f"{manifest}, id {quoted(utterance.id)}, column {column}: expected a path inside the corpus "
                        f"root {root}, got {quoted(media)}, {way}; mend it, or allow it: "
                        "--allow-outside (key corpus.allow_outside)"
                    )
    if problems:
        raise ManifestError("\n".join(problems) + _and_more(bad))


def _is_manifest(path: Path) -> bool:
    """Whether a regular file begins with the header of a manifest; of pipes and devices nothing is read."""
    with suppress(OSError, UnicodeDecodeError, csv.Error, ManifestError):
        if path.is_file():
            with path.open("rb") as file:
                line = file.readline(LONGEST_NAME).decode("utf-8-sig")
            _check_header(path, next(csv.reader([line], strict=True), None))
            return True
    return False


def _check_header(path: Path, names: Sequence[str] | None) -> None:
    got = list(names or [])
    missing = [column for column in REQUIRED if column not in got]
    unknown = [column for column in got if column not in COLUMNS]
    twice = [column for column, count in Counter(got).items() if count > 1]
    for what, columns in (("lacks", missing), ("has the unknown", unknown), ("repeats", twice)):
        if columns:
            raise ManifestError(
                f"{path}, line 1: the header {what} column {', '.join(map(quoted, columns[:20]))}; "
                f"expected {', '.join(REQUIRED)} and optionally {', '.join(OPTIONAL)}"
            )


def _row_problem(row: dict[str, str]) -> str | None:
    """'column: expected ..., got ...' for the first thing wrong with a row, else None."""
    if None in row or any(value is None for value in row.values()):
        return "count: expected as many cells as the header has"
    for column, text in row.items():
        if "\0" in text:
            return f"{column}: expected text without NUL characters, got {quoted(text)}"
        if len(text) > LONGEST_NAME and column not in ("transcript", *NUMBERS):
            return f"{column}: expected {LONGEST_NAME:,} characters at most, got {len(text):,}"
    if not row["id"]:
        return "id: expected a name, got nothing"
    if not (row["session"] or row["corpus"]):
        return "session: expected a session or a corpus (one of them names the split), got neither"
    for column in ("session", "corpus"):
        if (row[column].strip(".") == "" and row[column]) or row[column] == ALL:
            return f"{column}: expected a name other than '{ALL}' and dots, got {quoted(row[column])}"
        if len(split_folder(row[column])) > LONGEST_FOLDER:
            return f"{column}: expected a name for a folder, {LONGEST_FOLDER} bytes at most, got {quoted(row[column])}"
    if not (row["audio"] or row["video"]):
        return "audio: expected a path in audio, video or both, got neither"
    for column in NUMBERS:
        text = row.get(column) or ""
        if text and not _is_finite(text):
            return f"{column}: expected a number or nothing, got {quoted(text)}"
    start, end = float(row["start"] or 0), float(row["end"] or math.inf)
    if start < 0:
        return f"start: expected seconds from 0 on, got {quoted(row['start'])}"
    if end <= start:
        return f"end: expected an end after the start ({shortened(row['start'] or '0')} s), got {quoted(row['end'])}"
    try:
        parse_crop(row["crop"] or "full")
    except ValueError as error:
        return f"crop: expected {error}"
    return None


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(as_number(text))
    except ValueError:
        return False


def _from_row(row: dict[str, str]) -> Utterance:
    text = {name: row[name] for name in COLUMNS if name in row and name not in NUMBERS}
    text["crop"] = text["crop"] or "full"
    numbers = {name: float(row[name]) if row.get(name) else None for name in NUMBERS}
    return Utterance(**text, **numbers)  # type: ignore[arg-type]  # text and numbers by column, checked above


def _to_text(value: str | float | None) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)
