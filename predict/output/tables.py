"""Predictions as a table on the terminal, as JSON Lines and as CSV."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from ...shared.files.atomic import replaced_atomically, write_rows
from ...shared.text import counted, shortened
from .prediction import ClipPredictions, Failed, Prediction

JSONL, CSV, FAILURES = "predictions.jsonl", "predictions.csv", "failures.csv"

MAX_ROWS = 60
"""Rows on the terminal; of more, windows are left out first."""

MAX_CELL = 60


def prediction_table(result: ClipPredictions) -> Table:
    """Build the table for the terminal: probabilities in percent, the highest one marked."""
    rows = list(result.predictions)
    if len(rows) > MAX_ROWS:
        rows = [row for row in rows if row.part == "clip"]
    left_out = len(result.predictions) - len(rows[:MAX_ROWS])
    labelled = any(row.truth for row in rows)
    timed = any(row.part == "window" or row.start for row in rows)
    table = Table(title=f"predictions of {result.model}", caption=_caption(left_out))
    table.add_column("clip", overflow="fold")
    if timed:
        table.add_column("seconds", justify="right")
    if labelled:
        table.add_column("label")
    if result.classes:
        table.add_column("predicted")
    for name in (*result.classes, *result.ratings):
        table.add_column(name, justify="right")
    table.add_column("missing, notes", overflow="fold")
    for row in rows[:MAX_ROWS]:
        table.add_row(*_cells(row, result, timed=timed, labelled=labelled))
    return table


def failure_lines(failures: Sequence[Failed]) -> list[str]:
    """A line for each clip that could not be predicted."""
    return [f"{failed.name}: {failed.reason}" for failed in failures]


def write_tables(folder: Path, result: ClipPredictions) -> list[Path]:
    """Write predictions.jsonl and predictions.csv, and failures.csv if something failed, into an existing folder."""
    written = [folder / JSONL, folder / CSV]
    with replaced_atomically(written[0]) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in result.predictions:
            file.write(json.dumps(row.as_json(result.classes), allow_nan=False) + "\n")
    rows = table_rows(result)
    with replaced_atomically(written[1]) as temporary, temporary.open("w", encoding="utf-8", newline="") as text:
        write_rows(text, list(rows[0]), [[*row.values()] for row in rows])
    if result.failures:
        written.append(folder / FAILURES)
        with replaced_atomically(written[2]) as temporary, temporary.open("w", encoding="utf-8", newline="") as text:
            write_rows(text, ["id", "media", "reason"], [[f.name, f.media, f.reason] for f in result.failures])
    return written


def table_rows(result: ClipPredictions) -> list[dict[str, Any]]:
    """The predictions as flat rows: times rounded to milliseconds, the probability of class NAME as p_NAME."""
    labelled = any(row.truth for row in result.predictions)
    return [
        {
            "id": row.name,
            "media": row.media,
            "part": row.part,
            "start": round(row.start, 3),
            "end": round(row.end, 3),
            **({"label": row.truth} if labelled else {}),
            **({"predicted": row.label(result.classes)} if result.classes else {}),
            **{f"p_{name}": float(p) for name, p in zip(result.classes, row.probabilities, strict=True)},
            **{name: row.ratings[name] for name in result.ratings},
            "missing": row.missing_text(),
            "note": row.note,
        }
        for row in result.predictions
    ]


def _caption(left_out: int) -> str | None:
    return f"{counted(left_out, 'more row')} with --out or --json" if left_out else None


def _cells(row: Prediction, result: ClipPredictions, *, timed: bool, labelled: bool) -> list[str]:
    cells = [f"  {row.part}" if row.part == "window" else row.name]
    if timed:
        cells.append(f"{row.start:.2f}-{row.end:.2f}")
    if labelled:
        cells.append(row.truth)
    if result.classes:
        cells.append(row.label(result.classes))
    cells += [f"{100 * probability:.1f}" for probability in row.probabilities]
    cells += [f"{row.ratings[name]:.2f}" for name in result.ratings]
    about = [f"no {row.missing_text()}"] if row.missing else []
    cells.append(shortened("; ".join([*about, *([row.note] if row.note else [])]), 2 * MAX_CELL))
    return cells
