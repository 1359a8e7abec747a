"""Where commands print to."""

from rich.console import Console

LOG_WIDTH = 160
"""Columns where nobody has a terminal: in a log a table had better be wide than folded."""


def make_console() -> Console:
    """A console for tables and lines: an id such as [/b] is no markup, and no line is broken in a log."""
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = LOG_WIDTH
    return console
