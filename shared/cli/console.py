"""The console of a command: tables, lines and progress bars on standard output, and results as JSON."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from ..text import escape_control_characters

LOG_WIDTH = 160
"""Columns without a terminal: a wide table is easier to read in a log than a folded one."""


class _Console(Console):
    """A console that escapes control characters: names and notes may come from untrusted files."""

    def render_str(self, text: str, **options: Any) -> Text:
        # Escaped before it is measured, so that the columns of tables are aligned.
        return super().render_str(escape_control_characters(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else escape_control_characters(text), style, control)


_console: _Console | None = None


def start_console(*, quiet: bool = False) -> Console:
    """Create the console of this command; with `quiet` it prints nothing."""
    global _console
    # Ids are not markup, and lines must not be broken in a log.
    _console = _Console(highlight=False, markup=False, emoji=False, soft_wrap=True, quiet=quiet)
    if not _console.is_terminal:
        _console.width = LOG_WIDTH
    return _console


def get_console() -> Console:
    """The console of this command, for tables, lines and progress bars."""
    return _console or start_console()


@contextmanager
def quiet_console() -> Iterator[None]:
    """Print no tables, lines or progress bars while the block lasts."""
    global _console
    before = _console
    start_console(quiet=True)
    try:
        yield
    finally:
        _console = before


def print_json(result: Mapping[str, Any]) -> None:
    """Print the result of a command as one JSON object in ASCII on one line, also with --quiet."""
    typer.echo(json.dumps(result, allow_nan=False))


def count_table(
    heading: str, classes: Sequence[str], rows: Mapping[str, Sequence[int]], *, total: bool, title: str | None = None
) -> Table:
    """Build a table of counts by row name and class.

    Args:
        heading: name of the first column.
        classes: names of the other columns.
        rows: the counts of each row, one per class; a column with their sum is added.
        total: add a row with the sum of each column.
        title: printed above the table.
    """
    table = Table(heading, *classes, "all", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, counts in rows.items():
        table.add_row(name, *map(str, counts), str(sum(counts)))
    if total:
        sums = [sum(column) for column in zip(*rows.values(), strict=True)]
        table.add_section()
        table.add_row("all", *map(str, sums), str(sum(sums)))
    return table
