"""The one progress display: a bar on a terminal, a line now and then in a log."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ..text import duration
from .console import get_console

log = logging.getLogger(__name__)

LINE_SECONDS = 5.0


class Pace:
    """Estimates from its creation on how long counted work takes."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def text(self, completed: float, total: float | None) -> str:
        """The elapsed time and, until the work is finished, about how much is left: "elapsed 2 min 5 s"."""
        elapsed = time.monotonic() - self._began
        text = f"elapsed {duration(elapsed)}"
        if total is None or not 0 < completed < total:
            return text
        return f"{text}, about {duration(elapsed * (total - completed) / completed)} left"


class ProgressDisplay:
    """Counts finished work and shows it; safe to call from several threads. This base shows nothing."""

    def __init__(self, total: float | None) -> None:
        self.completed = 0.0
        self.total = total
        self.text = ""
        self._lock = threading.Lock()

    def advance(self, count: float = 1) -> None:
        """Count `count` more units as finished."""
        with self._lock:
            self.completed += count
            self._show()

    def update(
        self,
        text: str | None = None,
        *,
        completed: float | None = None,
        total: float | None = None,
        description: str | None = None,
    ) -> None:
        """Set what is shown; None leaves a part as it is.

        Args:
            text: shown behind the counts.
            completed: finished units.
            total: units of the whole work.
            description: shown before the bar; not part of the lines in a log.
        """
        with self._lock:
            self.text = self.text if text is None else text
            self.completed = self.completed if completed is None else completed
            self.total = self.total if total is None else total
            self._show(description)

    def _show(self, description: str | None = None) -> None:
        pass


@contextmanager
def progress_display(
    description: str,
    *,
    total: float | None = None,
    unit: str = "",
    in_bytes: bool = False,
    line_seconds: float | None = LINE_SECONDS,
) -> Iterator[ProgressDisplay]:
    """Show the progress of the block, which calls `advance` or `update` on the yielded object.

    Args:
        description: shown before the bar on a terminal.
        total: units of the whole work; None if unknown.
        unit: plural noun of the counted things, such as "utterances"; empty: the counts are not shown.
        in_bytes: the units are bytes; show sizes and the speed.
        line_seconds: shortest time between two lines in a log, in seconds; None: no lines. The last line is always
            printed.
    """
    console = get_console()
    if not console.is_terminal:
        yield ProgressDisplay(total) if line_seconds is None else _Lines(total, unit, line_seconds)
        return
    columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False), BarColumn()]
    if in_bytes:
        columns += [DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()]
    elif unit:
        columns += [MofNCompleteColumn(), TextColumn(unit, markup=False), TimeRemainingColumn()]
    columns += [TextColumn("{task.fields[text]}", markup=False), TimeElapsedColumn()]
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bar(total, progress, progress.add_task(description, total=total, text=""))


class _Bar(ProgressDisplay):
    """A bar of rich on a terminal."""

    def __init__(self, total: float | None, progress: Progress, task: TaskID) -> None:
        super().__init__(total)
        self._progress = progress
        self._task = task

    def _show(self, description: str | None = None) -> None:
        self._progress.update(
            self._task, description=description, completed=self.completed, total=self.total, text=self.text
        )


class _Lines(ProgressDisplay):
    """Logs a line with the elapsed and the remaining time at most every `line_seconds` seconds, and the last one."""

    def __init__(self, total: float | None, unit: str, line_seconds: float) -> None:
        super().__init__(total)
        self._unit = unit
        self._line_seconds = line_seconds
        self._pace = Pace()
        self._last_line = time.monotonic()
        self._last_count = 0.0

    def _show(self, description: str | None = None) -> None:
        now = time.monotonic()
        is_last = self.completed == self.total
        if self.completed == self._last_count or not (is_last or now - self._last_line >= self._line_seconds):
            return
        self._last_line = now
        self._last_count = self.completed
        count = f"{self.completed:g}" if self.total is None else f"{self.completed:g}/{self.total:g}"
        text = f", {self.text}" if self.text else ""
        log.info("%s %s%s, %s", count, self._unit, text, self._pace.text(self.completed, self.total))
