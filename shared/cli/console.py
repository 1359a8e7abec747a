"""Where commands print to."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from ..text import escape_control_characters

LOG_WIDTH = 160
"""Columns where nobody has a terminal: in a log a table had better be wide than folded."""


class _Console(Console):
    def render_str(self, text: str, **options: Any) -> Text:
        # Before it is measured, so that tables stay straight.
        return super().render_str(escape_control_characters(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else escape_control_characters(text), style, control)


_console: _Console | None = None


def start_console(*, quiet: bool = False) -> Console:
    """Create the console of this command; with `quiet` it prints nothing."""
    global _console
    # Ids are not markup, and lines are not broken in a log.
    _console = _Console(highlight=False, markup=False, emoji=False, soft_wrap=True, quiet=quiet)
    if not _console.is_terminal:
        _console.width = LOG_WIDTH
    return _console


def get_console() -> Console:
    """The console of this command, for tables, lines and progress bars."""
    return _console or start_console()


def print_json(result: Mapping[str, Any]) -> None:
    """Print a command's result as one JSON object on one line, for --json; --quiet does not suppress it."""
    sys.stdout.write(json.dumps(result, ensure_ascii=False, allow_nan=False) + "\n")


def count_table(
    heading: str, classes: Sequence[str], rows: Mapping[str, Sequence[int]], *, total: bool, title: str | None = None
) -> Table:
    """Counts by row name and class, with the sum of each row and, if `total`, of each column."""
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
