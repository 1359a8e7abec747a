"""The rows of a manifest: checked one by one where one has a problem, else read in columns."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .files.unicode_names import nfc
from .soft_labels import is_share_column, share_problem, shares_of
from .text import quoted, shortened
from .utterance import ALL, DISTINCT, INTEGERS, MAX_FOLDER_LENGTH, NUMBERS, parse_crop, split_folder

NAMES = frozenset({"id", "corpus", "session", "speaker", "gender", "label", "fold"})
"""Columns that are compared: macOS and some archives write accents in another Unicode form than other programs."""

BLOCK_ROWS = 1 << 14
"""Rows that are transposed at a time: as lists of cells, all together would take a gigabyte per million."""


def read_columns(reader: Iterator[list[str]], names: Sequence[str]) -> dict[str, list[Any]] | None:
    """Read the columns of a manifest in which no row has a problem.

    Args:
        reader: the lines after the header, from `csv.reader`.
        names: the header, which was checked.

    Returns:
        The columns of the utterances by field of `Utterance`, (n,) each; None if the manifest has no rows, or if any
        of them has a problem: `row_problem` says which.

    Raises:
        csv.Error: the file is not valid CSV.
    """
    columns: dict[str, list[Any]] = {name: [] for name in names}
    known: dict[str, str] = {}
    rows = filter(None, reader)
    while block := list(islice(rows, BLOCK_ROWS)):
        if set(map(len, block)) != {len(names)}:
            return None
        for name, cells in zip(names, zip(*block, strict=True), strict=True):
            if not any(cells):  # as in whole columns of most manifests
                columns[name] += [None] * len(cells) if name in NUMBERS else cells
            elif name in NUMBERS:
                try:
                    columns[name] += [float(text) if text else None for text in cells]
                except ValueError:
                    return None
            else:
                columns[name] += cells if name in DISTINCT else map(known.setdefault, cells, cells)
    for name in NAMES.intersection(names):
        if not all(map(str.isascii, set(columns[name]))):
            columns[name] = list(map(nfc, columns[name]))
    return _fields(columns) if _are_right(columns) else None


def _are_right(columns: Mapping[str, Sequence[Any]]) -> bool:
    """Whether the columns have rows, and none of the problems of `row_problem`, repeated ids and missing folds."""
    ids = set(columns["id"])
    if not ids or "" in ids or len(ids) != len(columns["id"]):
        return False
    for name, column in columns.items():
        if name in NUMBERS:
            numbers = _filled(column, 0.0)
            if not np.isfinite(numbers).all() or (name in INTEGERS and ((numbers < 0) | (numbers % 1 > 0)).any()):
                return False
        else:
            different = column if name in DISTINCT else set(column)
            if "\0" in "".join(different):
                return False
            if is_share_column(name) and any(share_problem({name: text}) for text in different):
                return False
    empty = [None] * len(ids)
    start, end = _filled(columns.get("start", empty), 0.0), _filled(columns.get("end", empty), math.inf)
    if (start < 0).any() or (end <= start).any():
        return False
    places = {*zip(columns["session"], columns["corpus"], columns.get("crop", repeat("")), strict=False)}
    for session, corpus, crop in places:
        if row_problem({"id": "id", "session": session, "corpus": corpus, "crop": crop}):
            return False
    if not any(map(str.strip, set(columns.get("fold", ())))):
        return True
    filled = {corpus for corpus, fold in zip(columns["corpus"], columns["fold"], strict=True) if fold.strip()}
    rows = zip(columns["label"], columns["corpus"], columns["fold"], strict=True)
    return not any(label and corpus in filled and not fold.strip() for label, corpus, fold in rows)


def _filled(column: Sequence[float | None], empty: float) -> NDArray[np.float64]:
    """A column of numbers, (n,), with `empty` in empty cells."""
    if column.count(None) == len(column):
        return np.full(len(column), empty)
    return np.array([empty if value is None else value for value in column])


def _fields(columns: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """The columns of a checked manifest by field of `Utterance`."""
    fields = {name: column for name, column in columns.items() if not is_share_column(name)}
    if "crop" in fields:
        fields["crop"] = [crop or "full" for crop in fields["crop"]]
    for name in INTEGERS:
        if name in fields:
            fields[name] = [None if value is None else int(value) for value in fields[name]]
    shares = [name for name in columns if is_share_column(name)]
    if shares:
        rows = zip(*(columns[name] for name in shares), strict=True)
        fields["shares"] = [shares_of(dict(zip(shares, cells, strict=True))) for cells in rows]
    return fields


def numbered_rows(reader: "csv.DictReader[str]") -> Iterator[tuple[int, dict[str, str]]]:
    """The rows with their line numbers, names in Unicode form NFC."""
    for cells in reader:
        yield reader.line_num, {name: nfc(text) if name in NAMES and text else text for name, text in cells.items()}


def row_problem(row: Mapping[str, str]) -> str | None:
    """The first problem of a row as `column: expected ..., got ...`; None for a good row."""
    if None in row or any(value is None for value in row.values()):
        return "count: expected as many cells as the header has"
    for column, text in row.items():
        if "\0" in text:
            return f"{column}: expected text without NUL characters, got {quoted(text)}"
    if not row["id"]:
        return "id: expected a name, got nothing"
    if not (row["session"] or row["corpus"]):
        return "session: expected a session or a corpus (one of them names the split), got neither"
    for column in ("session", "corpus"):
        if (row[column].strip(".") == "" and row[column]) or row[column] == ALL:
            return f"{column}: expected a name other than '{ALL}' and not only of dots, got {quoted(row[column])}"
        if len(split_folder(row[column])) > MAX_FOLDER_LENGTH:
            return (
                f"{column}: expected a name for a folder, {MAX_FOLDER_LENGTH} bytes at most, got {quoted(row[column])}"
            )
    for column in NUMBERS:
        text = row.get(column) or ""
        if text and not _is_finite(text):
            return f"{column}: expected a number or an empty cell, got {quoted(text)}"
        if text and column in INTEGERS and (float(text) < 0 or float(text) % 1):
            return f"{column}: expected a whole number from 0 on or an empty cell, got {quoted(text)}"
    if problem := share_problem(row):
        return problem
    start_text, end_text = row.get("start") or "", row.get("end") or ""
    start, end = float(start_text or 0), float(end_text or math.inf)
    if start < 0:
        return f"start: expected seconds from 0 on, got {quoted(start_text)}"
    if end <= start:
        return f"end: expected a time after the start ({shortened(start_text or '0')} s), got {quoted(end_text)}"
    try:
        parse_crop(row.get("crop") or "full")
    except ValueError as error:
        return f"crop: expected {error}"
    return None


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
