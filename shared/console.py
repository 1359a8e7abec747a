"""Where commands print to."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

LOG_WIDTH = 160
"""Columns where nobody has a terminal: in a log a table had better be wide than folded."""


def make_console() -> Console:
    """A console for tables and lines: an id such as [/b] is no markup, and no line is broken in a log."""
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = LOG_WIDTH
    return console


def duration(seconds: float) -> str:
    """A length of time as people say it: `2 h 5 min` or `3 min 20 s`."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"


def some_of(names: Sequence[str], most: int = 5) -> str:
    """How many utterances there are, and the first few of them by name."""
    return f"{len(names)} utterances ({', '.join(names[:most])}{', ...' if len(names) > most else ''})"


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
