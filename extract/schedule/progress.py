"""Shows how far an extraction is: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .failures import ChunkResult
from .plan import Chunk

SECONDS_BETWEEN_LINES = 5.0


class Tally:
    """Counts utterances (done when all their modalities are), media hours and failures."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._open: dict[str, int] = {}
        for chunk in chunks:
            for utterance in chunk.utterances:
                self._open[utterance.id] = self._open.get(utterance.id, 0) + 1
        self.total = len(self._open)
        self.done = self.failures = 0
        self._media_seconds = 0.0
        self._began = time.monotonic()

    def add(self, result: ChunkResult) -> None:
        """Count a finished chunk."""
        self._media_seconds += result.chunk.seconds
        self.failures += len(result.failures)
        for utterance in result.chunk.utterances:
            self._open[utterance.id] -= 1
            self.done += self._open[utterance.id] == 0

    def speed(self) -> str:
        """Media hours (of each modality) per hour."""
        return f"{self._media_seconds / max(1e-9, time.monotonic() - self._began):.1f} media hours/hour"

    def failed(self) -> str:
        """The failures, in words."""
        return f"{self.failures} failure{'s' * (self.failures != 1)}"


@contextmanager
def shown(tally: Tally, console: Console) -> Iterator["Bar | Lines"]:
    """Something to call `advance` on after each chunk."""
    if console.is_terminal:
        progress = Progress(
            TextColumn("extracting"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("utterances, {task.fields[speed]}, {task.fields[failed]},"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
        )
        with progress:
            yield Bar(tally, progress)
    else:
        yield Lines(tally, console)


class Bar:
    """On a terminal."""

    def __init__(self, tally: Tally, progress: Progress) -> None:
        self._tally, self._progress = tally, progress
        self._task = progress.add_task("", total=tally.total, speed="starting", failed=tally.failed())

    def advance(self) -> None:
        """Show the tally."""
        tally = self._tally
        self._progress.update(self._task, completed=tally.done, speed=tally.speed(), failed=tally.failed())


class Lines:
    """In a log."""

    def __init__(self, tally: Tally, console: Console) -> None:
        self._tally, self._console, self._last = tally, console, time.monotonic()

    def advance(self) -> None:
        """Print the tally, but not too often, and always the last one."""
        tally = self._tally
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_LINES or tally.done == tally.total:
            self._last = now
            self._console.print(f"{tally.done}/{tally.total} utterances, {tally.speed()}, {tally.failed()}")
