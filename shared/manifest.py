"""The manifest (CSV): reading, checking and writing it."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from operator import attrgetter
from pathlib import Path

from .errors import ManifestError
from .files.atomic import replaced_atomically, write_rows
from .files.confinement import Inside
from .files.overwrite import check_overwrite
from .files.recognize import DELIMITER_NAMES, delimiter, table_problem
from .files.unicode_names import spelled_on_disk
from .manifest_rows import numbered_rows, read_columns, row_problem
from .parallel.collection import paused_collection
from .soft_labels import SHARE_PREFIX, is_share_column, share_classes
from .text import preview_ids, quoted
from .utterance import (
    COLUMNS,
    DIALOG,
    MEDIA,
    OPTIONAL,
    REQUIRED,
    TEXT,
    Utterance,
    link_turns,
    utterances_of,
)

MAX_PROBLEMS = 20
"""Bad rows that a message names."""

MAX_HEADER_BYTES = 4096


def read_manifest(path: Path) -> list[Utterance]:
    """Read and check a manifest.

    Example:
        utterances = read_manifest(Path("manifests/corpus.csv"))
        happy = [utterance.id for utterance in utterances if utterance.label == "hap"]

    Args:
        path: a CSV file in UTF-8 with the columns of `Utterance`. The media columns may be missing or empty, see
            `check_media`.

    Returns:
        The utterances, in the order of the file. Names (`NAMES`) are in Unicode form NFC, paths as they are written.

    Raises:
        ManifestError: the file cannot be read, or has bad rows; the message names the first twenty of them with line,
            column, expected and actual value.
    """
    try:
        if path.exists() and not path.is_file():
            raise ManifestError(f"{path}: expected a manifest (a CSV file), got a folder, a pipe or a device")
        if problem := table_problem(path):
            raise ManifestError(f"{path}: expected a manifest (a CSV file in UTF-8), {problem}")
        with path.open(encoding="utf-8-sig", newline="") as file, paused_collection():
            reader = csv.reader(file, strict=True)
            names = next(reader, [])
            _check_header(path, names)
            columns = read_columns(reader, names)
            if columns is None:
                file.seek(0)
                raise _problems(path, csv.DictReader(file, strict=True))
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such manifest; see `foal manifest --help` for how to create it") from None
    except OSError as error:
        raise ManifestError(f"{path}: expected a manifest (a CSV file); it cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: expected a CSV file in UTF-8, got other bytes ({error})") from None
    except csv.Error as error:
        raise ManifestError(f"{path}: cannot be read as CSV: {error}") from None
    with paused_collection():
        utterances = utterances_of(columns)
        link_turns(utterances)
    return utterances


def _problems(path: Path, reader: "csv.DictReader[str]") -> ManifestError:
    """The error for a manifest that has rows with problems, or none at all. Raises csv.Error."""
    problems: list[str] = []
    bad = 0
    line_of: dict[str, int] = {}
    labelled: list[dict[str, str]] = []
    filled: Counter[str] = Counter()
    for line, row in numbered_rows(reader):
        problem = row_problem(row)
        if problem is None and row["id"] in line_of:
            problem = f"id: expected unique ids, got {quoted(row['id'])} again (first on line {line_of[row['id']]})"
            problem += "" if row["id"].isascii() else "; ids that differ only in their Unicode form are equal"
        if problem is None:
            line_of[row["id"]] = line
            fold = bool(row.get("fold", "").strip())
            filled[row["corpus"]] += fold
            if row["label"] and not fold:
                labelled.append(row)
            continue
        bad += 1
        if bad <= MAX_PROBLEMS:
            problems.append(f"{path}, line {line}, column {problem}")
    if problems:
        return ManifestError("\n".join(problems) + _and_more(bad))
    if not line_of:
        return ManifestError(f"{path}: the manifest is empty; expected one line per utterance below the header")
    without = [row for row in labelled if filled[row["corpus"]]]
    problems = [
        f"{path}, line {line_of[row['id']]}, column fold: expected a fold for {quoted(row['id'])}, as the other "
        f"{filled[row['corpus']]} rows of the corpus have one, got nothing; fill the cell, or empty the column"
        for row in without[:MAX_PROBLEMS]
    ]
    return ManifestError("\n".join(problems) + _and_more(len(without)))


def _and_more(bad: int) -> str:
    return f"\n... and {bad - MAX_PROBLEMS} more" if bad > MAX_PROBLEMS else ""


def write_manifest(path: Path, utterances: Iterable[Utterance], *, force: bool = False) -> None:
    """Write a manifest, completely or not at all.

    Args:
        path: the CSV file; an existing manifest is replaced.
        utterances: its rows. The columns dialog, turn, scene and label_NAME are written if any row fills them.
        force: replace a file that is not a manifest.

    Raises:
        ManifestError: rows that `read_manifest` would refuse.
        UsageError: `path` exists and is not a manifest.
    """
    check_overwrite(path, kind="a manifest", is_ours=_is_manifest, force=force)
    rows = list(utterances)
    used = {name for name in DIALOG if any(getattr(row, name) not in ("", None) for row in rows)}
    columns = [name for name in COLUMNS if name in used or name not in DIALOG]
    classes = share_classes(row.shares for row in rows)
    with replaced_atomically(path) as temporary:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            write_rows(
                file,
                [*columns, *(SHARE_PREFIX + name for name in classes)],
                (
                    [
                        *(_to_text(getattr(row, column)) for column in columns),
                        *(_to_text(dict(row.shares).get(name)) for name in classes),
                    ]
                    for row in rows
                ),
            )
        try:
            read_manifest(temporary)
        except ManifestError as error:
            raise ManifestError(str(error).replace(str(temporary), str(path))) from None


def check_inside(utterances: Iterable[Utterance], root: Path, manifest: Path) -> None:
    """Check that all media paths stay inside the corpus root; missing files are not an error.

    Args:
        utterances: rows of the manifest.
        root: the corpus root, which may be a symbolic link itself.
        manifest: the manifest, for the message.

    Raises:
        ManifestError: absolute paths, `..` or symbolic links lead outside; the message names the first twenty.
    """
    inside, bad, problems, utterances = Inside(root), 0, list[str](), list(utterances)
    media_of = attrgetter("audio", "video")
    reasons = {media: "" for pair in map(media_of, utterances) for media in pair}
    for media in filter(None, reasons):
        reasons[media] = inside.escape_reason(spelled_on_disk(root, media))
    if not any(reasons.values()):
        return
    for utterance in utterances:
        for column, media in zip(("audio", "video"), media_of(utterance), strict=True):
            reason = reasons[media]
            if not reason:
                continue
            bad += 1
            if bad <= MAX_PROBLEMS:
                problems.append(
                    f"{manifest}, id {quoted(utterance.id)}, column {column}: expected a path inside the corpus "
                    f"root {root}, got {quoted(media)}, {reason}; correct it, or allow it "
                    "with --allow-outside (key corpus.allow_outside)"
                )
    if problems:
        raise ManifestError("\n".join(problems) + _and_more(bad))


def check_media(utterances: Sequence[Utterance], manifest: Path) -> None:
    """Raise ManifestError if utterances that are to be extracted have neither a media file nor a transcript."""
    without = [row.id for row in utterances if not (row.audio or row.video or row.has(TEXT))]
    if without:
        raise ManifestError(
            f"{manifest}: expected a media file in audio or video, or a transcript, got none of them for "
            f"{preview_ids(without)}; fill the columns in or remove the rows, or use `foal import` for features that "
            "were computed elsewhere"
        )


def _is_manifest(path: Path) -> bool:
    """Whether a regular file begins with the header of a manifest; pipes and devices are not read."""
    with suppress(OSError, UnicodeDecodeError, csv.Error, ManifestError):
        if path.is_file():
            with path.open("rb") as file:
                line = file.readline(MAX_HEADER_BYTES).decode("utf-8-sig")
            # Every manifest that foal writes has the media columns.
            _check_header(path, next(csv.reader([line], strict=True), None), REQUIRED + MEDIA)
            return True
    return False


def _check_header(path: Path, names: Sequence[str] | None, required: Sequence[str] = REQUIRED) -> None:
    got = list(names or [])
    missing = [column for column in required if column not in got]
    unknown = [column for column in got if column not in COLUMNS and not is_share_column(column)]
    repeated = [column for column, count in Counter(got).items() if count > 1]
    if missing and len(got) == 1 and (character := delimiter(got[0])) in got[0] and character != ",":
        raise ManifestError(
            f"{path}, line 1: expected columns separated by commas, got {DELIMITER_NAMES[character]}; save the table "
            "as CSV with commas, or convert it with `foal manifest csv`"
        )
    if capital := [name for name in unknown if name.strip().lower() in missing]:
        raise ManifestError(
            f"{path}, line 1: expected the names of columns in lower case and without spaces, got "
            f"{', '.join(map(quoted, capital[:20]))}; rename them, or convert the table with `foal manifest csv`"
        )
    for problem, columns in (("lacks", missing), ("has the unknown", unknown), ("repeats", repeated)):
        if columns:
            raise ManifestError(
                f"{path}, line 1: the header {problem} column {', '.join(map(quoted, columns[:20]))}; "
                f"expected {', '.join(REQUIRED)}, those of the media ({', '.join(MEDIA)}) and optionally "
                f"{', '.join(OPTIONAL)}, {SHARE_PREFIX}CLASS"
            )


def _to_text(value: str | float | None) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)
