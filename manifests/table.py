"""Tables that others wrote: CSV with any separator and encoding, and columns found by their usual names."""

import csv
import io
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..shared.errors import ManifestError, UsageError
from ..shared.files.recognize import DELIMITER_NAMES, delimiter, is_utf_16, table_problem
from ..shared.text import quoted


@dataclass(frozen=True, kw_only=True)
class Table:
    """The rows of a table below its header.

    Attributes:
        path: the file.
        header: names of the columns.
        rows: column to cell, without spaces at the ends, for each row.
        lines: line of each row in the file.
        notes: how it was read, if not as CSV in UTF-8.
    """

    path: Path
    header: Sequence[str]
    rows: Sequence[Mapping[str, str]]
    lines: Sequence[int]
    notes: Sequence[str]


def read_table(path: Path) -> Table:
    """Read a table with a header: columns separated by commas, semicolons or tabs, in UTF-8, UTF-16 or Windows-1252.

    Raises ManifestError for a file that is no table, and for a row with more or fewer cells than the header.
    """
    if not path.is_file():
        problem = "it is a folder" if path.is_dir() else "it does not exist"
        raise ManifestError(f"{path}: expected a table (a CSV file), but {problem}")
    notes = []
    if is_utf_16(path):
        text = path.read_bytes().decode("utf-16", errors="replace")
        notes.append(f"{path}: read as UTF-16")
    elif problem := table_problem(path):
        raise ManifestError(f"{path}: expected a table (a CSV file), {problem}")
    else:
        content = path.read_bytes()
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            # The encoding of Windows for Western Europe, in which every byte is some character.
            text = content.decode("cp1252", errors="replace")
            notes.append(f"{path}: not UTF-8; read as Windows-1252")
    character = delimiter(text.partition("\n")[0])
    if character != ",":
        notes.append(f"{path}: columns separated by {DELIMITER_NAMES[character]}")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=character)
    try:
        header = [unicodedata.normalize("NFC", name.strip()) for name in next(reader, [])]
        rows, numbers = [], []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise ManifestError(
                    f"{path}, line {reader.line_num}: expected {len(header)} cells as in the header, got {len(cells)}"
                )
            rows.append({name: cell.strip() for name, cell in zip(header, cells, strict=True)})
            numbers.append(reader.line_num)
    except csv.Error as error:
        raise ManifestError(f"{path}, line {reader.line_num}: cannot be read as CSV: {error}") from None
    if not rows:
        raise ManifestError(f"{path}: expected a header and at least one row, got an empty table")
    return Table(path=path, header=header, rows=rows, lines=numbers, notes=notes)


def find_columns(
    table: Table, usual: Mapping[str, Sequence[str]], given: Mapping[str, str], required: Sequence[str]
) -> dict[str, str]:
    """The column of the table for each meaning that it has.

    Args:
        table: the table.
        usual: meaning to the usual names of its column, in lower case.
        given: meaning to the name that the user gave.
        required: meanings that must have a column.

    Raises:
        ManifestError: a required meaning has no column, or several columns could be meant.
        UsageError: an unknown meaning, or a given column that the table lacks.
    """
    unknown = [meaning for meaning in given if meaning not in usual]
    if unknown:
        raise UsageError(f"--columns: expected {', '.join(usual)}, got {', '.join(map(quoted, unknown))}")
    found: dict[str, str] = {}
    for meaning, names in usual.items():
        if meaning in given:
            if given[meaning] not in table.header:
                raise UsageError(
                    f"--columns: {table.path} has no column {quoted(given[meaning])}; it has "
                    f"{', '.join(map(quoted, table.header[:40]))}"
                )
            found[meaning] = given[meaning]
            continue
        matches = [name for name in table.header if _plain(name) in names and name not in given.values()]
        if len(matches) > 1:
            raise ManifestError(
                f"{table.path}: expected one column for {meaning}, got {', '.join(map(quoted, matches))}; choose one "
                f"with --columns {meaning}={matches[0]}"
            )
        if matches:
            found[meaning] = matches[0]
    if missing := [meaning for meaning in required if meaning not in found]:
        raise ManifestError(
            f"{table.path}: expected a column for {', '.join(missing)}, got "
            f"{', '.join(map(quoted, table.header[:40]))}; name it with --columns {missing[0]}=NAME"
        )
    return found


def parse_columns(pairs: Sequence[str] | None) -> dict[str, str]:
    """The pairs `meaning=column` of --columns. Raises UsageError."""
    columns = {}
    for pair in pairs or ():
        meaning, equals, name = pair.partition("=")
        if not (equals and name):
            raise UsageError(f"--columns: expected MEANING=COLUMN such as path=FileName, got {quoted(pair)}")
        columns[meaning.strip()] = name.strip()
    return columns


def parse_seconds(text: str) -> float | None:
    """Seconds of `12.5`, `0:12` or `00:16:16,059` (hours, minutes, seconds); None for "". Raises ValueError."""
    if not text:
        return None
    seconds = 0.0
    for part in text.replace(",", ".").split(":"):
        seconds = 60 * seconds + float(part)
    return seconds


def _plain(name: str) -> str:
    return name.casefold().replace(" ", "_").replace("-", "_")
