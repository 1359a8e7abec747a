"""The utterance, and the manifest that lists them: read, validate, write."""

import csv
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import quote

from .errors import ManifestError, UsageError
from .files import replaced_atomically

REQUIRED = ("id", "corpus", "session", "speaker", "gender", "label", "audio", "video", "start", "end", "crop")
OPTIONAL = ("fold", "transcript", "valence", "arousal", "dominance")
COLUMNS = REQUIRED + OPTIONAL
NUMBERS = ("start", "end", "valence", "arousal", "dominance")

ALL = "all"
LONGEST_FOLDER = 200

Box = tuple[float, float, float, float]
"""A part of the picture as fractions of its width and height: x0, y0, x1, y1."""

_NAMED_CROPS: dict[str, Box] = {
    "full": (0.0, 0.0, 1.0, 1.0),
    "left": (0.0, 0.0, 0.5, 1.0),
    "right": (0.5, 0.0, 1.0, 1.0),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Utterance:
    """One stretch of speech by one person, with its label.

    `audio` and `video` are paths relative to the corpus root, either may be empty; `start` and `end` are seconds of
    the media, None meaning from the beginning and to the end; the other numbers are the corpus' own ratings.
    """

    id: str
    corpus: str = ""
    session: str = ""
    speaker: str = ""
    gender: str = ""
    label: str = ""
    audio: str = ""
    video: str = ""
    start: float | None = None
    end: float | None = None
    crop: str = "full"
    fold: str = ""
    transcript: str = ""
    valence: float | None = None
    arousal: float | None = None
    dominance: float | None = None

    @property
    def split(self) -> str:
        """What `--split` selects and the folder of its shards is called: the session, else the corpus."""
        return self.session or self.corpus

    @property
    def box(self) -> Box:
        """The person's part of the picture, as fractions."""
        return parse_crop(self.crop)

    def source(self, modality: str) -> str:
        """Which stretch of which file (and which part of the picture) a modality's features come from.

        The part of the manifest's row that changes the numbers, and no other: a label may be mended without extracting.
        """
        crop = self.crop if modality == "face" else ""
        return json.dumps([self.media(modality), self.start, self.end, crop])

    def media(self, modality: str) -> str:
        """The file that a modality is taken from, relative to the corpus root; empty if there is none."""
        return self.video if modality == "face" else self.audio

    @property
    def seconds(self) -> float | None:
        """Length in seconds, or None where only the media file knows its end."""
        return None if self.end is None else self.end - (self.start or 0.0)


assert tuple(field.name for field in fields(Utterance)) == COLUMNS


def parse_crop(text: str) -> Box:
    """`full`, `left`, `right` or `x0,y0,x1,y1` as fractions; raises ValueError with what was expected."""
    if text in _NAMED_CROPS:
        return _NAMED_CROPS[text]
    wanted = f"'full', 'left', 'right' or 'x0,y0,x1,y1' with 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1, got {text!r}"
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(wanted) from None
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise ValueError(wanted)
    return x0, y0, x1, y1


def read_manifest(path: Path) -> list[Utterance]:
    """Read and check a manifest, in its own order.

    Raises ManifestError with every bad line (the first twenty of them): file, line, column, expected, got.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_header(path, reader.fieldnames)
            rows = [(reader.line_num, row) for row in reader]
    except FileNotFoundError:
        raise ManifestError(f"{path}: there is no such manifest; `foal manifest --help` says how to make one") from None
    except OSError as error:
        raise ManifestError(f"{path}: expected a manifest (a CSV file); it cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: expected a CSV file in UTF-8, got bytes that are not ({error})") from None
    except csv.Error as error:
        raise ManifestError(f"{path}: cannot be read as CSV: {error}") from None
    if not rows:
        raise ManifestError(f"{path}: the manifest is empty; expected one line per utterance below the header")

    utterances: list[Utterance] = []
    problems: list[str] = []
    line_of: dict[str, int] = {}
    for line, row in rows:
        problem = _row_problem(row)
        if problem is None and row["id"] in line_of:
            problem = f"id: expected unique ids, got {row['id']!r} again (first on line {line_of[row['id']]})"
        if problem is not None:
            problems.append(f"{path}, line {line}, column {problem}")
            continue
        line_of[row["id"]] = line
        utterances.append(_from_row(row))
    if problems:
        more = f"\n... and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise ManifestError("\n".join(problems[:20]) + more)
    return utterances


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest whole, or not at all.

    Raises ManifestError for rows that could not be read again, and for a file in its place that is no manifest.
    """
    if path.is_file() and not path.read_bytes()[:3] == b"id,":
        raise ManifestError(f"{path}: expected a manifest to replace, or nothing, got another file")
    with replaced_atomically(path) as temporary:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for utterance in utterances:
                writer.writerow([_to_text(getattr(utterance, column)) for column in COLUMNS])
        try:
            read_manifest(temporary)
        except ManifestError as error:
            raise ManifestError(str(error).replace(str(temporary), str(path))) from None


def splits_of(utterances: Iterable[Utterance]) -> dict[str, list[Utterance]]:
    """Utterances by split, splits in the order of the manifest."""
    by_split: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        by_split.setdefault(utterance.split, []).append(utterance)
    return by_split


def select_splits(utterances: Sequence[Utterance], wanted: Sequence[str]) -> list[Utterance]:
    """The utterances of the wanted splits (`all` = every one); raises UsageError that lists the known ones."""
    by_split = splits_of(utterances)
    unknown = [name for name in wanted if name not in by_split and name != ALL]
    if unknown or not wanted:
        what = f"unknown split {', '.join(map(repr, unknown))}" if unknown else "no split was given"
        raise UsageError(f"{what}; the manifest has {', '.join(by_split)} (or '{ALL}')")
    names = list(by_split) if ALL in wanted else list(dict.fromkeys(wanted))
    return [utterance for name in names for utterance in by_split[name]]


def split_folder(split: str) -> str:
    """The split's name as a folder: the same, with what a folder's name may not hold percent-encoded."""
    return quote(split, safe=" ")


def _check_header(path: Path, names: Sequence[str] | None) -> None:
    got = list(names or [])
    missing = [column for column in REQUIRED if column not in got]
    unknown = [column for column in got if column not in COLUMNS]
    twice = [column for column, count in Counter(got).items() if count > 1]
    for what, columns in (("lacks", missing), ("has the unknown", unknown), ("repeats", twice)):
        if columns:
            raise ManifestError(
                f"{path}, line 1: the header {what} column {', '.join(map(repr, columns))}; "
                f"expected {', '.join(REQUIRED)} and optionally {', '.join(OPTIONAL)}"
            )


def _row_problem(row: dict[str, str]) -> str | None:
    """'column: expected ..., got ...' for the first thing wrong with a row, else None."""
    if None in row or any(value is None for value in row.values()):
        return "count: expected as many cells as the header has"
    for column, text in row.items():
        if "\0" in text:
            return f"{column}: expected text without NUL characters, got {text!r}"
    if not row["id"]:
        return "id: expected a name, got nothing"
    if not (row["session"] or row["corpus"]):
        return "session: expected a session or a corpus (one of them names the split), got neither"
    for column in ("session", "corpus"):
        if (row[column].strip(".") == "" and row[column]) or row[column] == ALL:
            return f"{column}: expected a name other than '{ALL}' and dots, got {row[column]!r}"
        if len(split_folder(row[column])) > LONGEST_FOLDER:
            return f"{column}: expected a name for a folder, {LONGEST_FOLDER} bytes at most, got {row[column]!r}"
    if not (row["audio"] or row["video"]):
        return "audio: expected a path in audio, video or both, got neither"
    for column in NUMBERS:
        text = row.get(column) or ""
        if text and not _is_finite(text):
            return f"{column}: expected a number or nothing, got {text!r}"
    start, end = float(row["start"] or 0), float(row["end"] or math.inf)
    if start < 0:
        return f"start: expected seconds from 0 on, got {row['start']!r}"
    if end <= start:
        return f"end: expected an end after the start ({row['start'] or 0} s), got {row['end']!r}"
    try:
        parse_crop(row["crop"] or "full")
    except ValueError as error:
        return f"crop: expected {error}"
    return None


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
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
