"""The progress of an extraction: how many utterances are done, how fast, and how many failed."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ...shared.cli import progress
from .failures import ChunkResult
from .plan import Chunk


class ProgressCounter:
    """Counts utterances (done when all their streams are), media hours and failures."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._streams_left: dict[str, int] = {}
        for chunk in chunks:
            for utterance in chunk.utterances:
                self._streams_left[utterance.id] = self._streams_left.get(utterance.id, 0) + 1
        self.total = len(self._streams_left)
        self.done = 0
        self.failures = 0
        self._media_seconds = 0.0
        self._began = time.monotonic()

    def add(self, chunk: Chunk, result: ChunkResult) -> None:
        """Count a finished chunk."""
        self._media_seconds += chunk.seconds
        self.failures += len(result.failures)
        for utterance in chunk.utterances:
            self._streams_left[utterance.id] -= 1
            self.done += self._streams_left[utterance.id] == 0

    def summary(self) -> str:
        """The speed in media hours (of each stream) per hour, and the number of failures."""
        hours_per_hour = self._media_seconds / max(1e-9, time.monotonic() - self._began)
        return f"{hours_per_hour:.1f} media hours/hour, {self.failures} failure{'s' * (self.failures != 1)}"


class CounterDisplay:
    """Shows a counter on a progress display."""

    def __init__(self, counter: ProgressCounter, display: progress.ProgressDisplay) -> None:
        self._counter = counter
        self._display = display

    def advance(self) -> None:
        """Show the counter as it is now; call it after each chunk."""
        self._display.update(self._counter.summary(), completed=self._counter.done)


@contextmanager
def progress_display(counter: ProgressCounter) -> Iterator[CounterDisplay]:
    """Show the progress of an extraction while the block lasts."""
    with progress.progress_display("extracting", total=counter.total, unit="utterances") as display:
        yield CounterDisplay(counter, display)
