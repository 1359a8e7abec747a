"""Distribute chunks over workers; bisect the chunks that kill or block workers until the utterance is known."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue

from distributed import Client, Future, KilledWorker

from ...shared.errors import FoalError
from ...shared.parallel.waiting import WorkerWatch
from ...shared.text import duration
from ...shared.timing import Seconds
from .failures import CHANGED, REMEDY_TIMEOUT, REMEDY_WORKER_DIED, ChunkResult, build_failure
from .plan import Chunk, bisect
from .worker import TASK_STARTED

MAX_ATTEMPTS = 2
"""Attempts at a single utterance: workers may be killed and disks may stall for other reasons."""

SLOWER = 5.0
"""A chunk may be this many times slower than the slowest finished chunk of its stream."""

UNKNOWN_RATE = 100.0
"""Before a chunk of the stream is finished, a chunk may take this many seconds per second of media."""

MIN_RATE = 0.2
"""Seconds of work per second of media that every chunk is granted at least."""

POLL_SECONDS: Seconds = 1.0

SUSPEND_THRESHOLD: Seconds = 10.0
"""A wait that takes this long instead of POLL_SECONDS means that this process was suspended."""

Submit = Callable[[Chunk, str], "Future[ChunkResult]"]
Fingerprint = Callable[[Chunk], str]


@dataclass(frozen=True, kw_only=True)
class _Task:
    chunk: Chunk
    future: "Future[ChunkResult]"
    attempt: int
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class _Start:
    at: float
    worker: str


class Dispatch:
    """Runs the chunks of one extraction on Dask workers and yields their results as they finish.

    Only a window of the chunks is submitted at a time, the longest first, so that results are read and deadlines are
    watched from the first chunk on, whatever the number of chunks.

    Every chunk ends in exactly one way:

        finished in time         its result is yielded, failures of single utterances included
        worker died over it      bisected, and the halves are submitted (Dask has tried it on a second worker before)
        deadline passed          its worker is restarted, and the chunk is bisected
        single utterance         tried MAX_ATTEMPTS times in all; then a result with one failure is yielded

    A deadline is `timeout` plus the media's seconds times SLOWER times the slowest rate of the stream so far. It counts
    from the event TASK_STARTED, which a worker sends once its encoder is loaded. The clock runs in this process,
    because a frozen worker could not stop itself.

    Example:
        dispatch = Dispatch(chunks, client, submit, watch, name="foal-1", timeout=300.0, fingerprint=fingerprint)
        for chunk, result in dispatch.results():
            print(chunk.name, result.frames, result.failures)

    Args:
        chunks: what is to be run.
        client: the client of the scheduler.
        submit: submits a chunk under the given Dask key.
        watch: the workers; it determines the size of the window.
        name: a name that no other run on the scheduler has.
        timeout: seconds that any chunk may take.
        fingerprint: the current fingerprint of the file of a chunk with one utterance.
    """

    def __init__(
        self,
        chunks: Iterable[Chunk],
        client: Client,
        submit: Submit,
        watch: WorkerWatch,
        *,
        name: str,
        timeout: Seconds,
        fingerprint: Fingerprint,
    ) -> None:
        self._waiting = iter(sorted(chunks, key=lambda chunk: chunk.seconds, reverse=True))
        self._client = client
        self._submit = submit
        self._watch = watch
        self._name = name
        self._timeout = timeout
        self._fingerprint = fingerprint
        self._numbers = itertools.count()
        self._tasks: dict[str, _Task] = {}
        self._starts: dict[str, _Start] = {}
        self._rates: dict[str, float] = {}
        self._done: SimpleQueue[Future[ChunkResult]] = SimpleQueue()
        client.subscribe_topic(TASK_STARTED, self._on_task_started)

    def fill(self) -> None:
        """Submit chunks until the window is full."""
        for chunk in itertools.islice(self._waiting, max(0, self._watch.window - len(self._tasks))):
            self._start(chunk)

    def results(self) -> Iterator[tuple[Chunk, ChunkResult]]:
        """Yield the result of each chunk, or of each of the parts into which it was bisected.

        Raises:
            FoalError: a shard cannot be written, or there are no workers any more.
            CancelledError: the connection to the scheduler is lost.
        """
        while True:
            self._watch.poll()
            self.fill()
            if not self._tasks:
                return
            began = time.monotonic()
            done = []
            with suppress(Empty):
                done.append(self._done.get(timeout=POLL_SECONDS))
                # Everything that is done is taken before deadlines are checked.
                while True:
                    done.append(self._done.get_nowait())
            self._shift_deadlines_after_suspend(time.monotonic() - began)
            for future in done:
                yield from self._settle(future)
            yield from self._stop_overdue()

    def _start(self, chunk: Chunk, *, attempt: int = 0) -> None:
        # Several runs may share a scheduler, for which equal keys are the same task.
        key = f"{self._name}-{chunk.stream}-{chunk.name}-{next(self._numbers)}"
        fingerprint = self._fingerprint(chunk) if attempt else ""
        future = self._submit(chunk, key)
        self._tasks[key] = _Task(chunk=chunk, future=future, attempt=attempt, fingerprint=fingerprint)
        future.add_done_callback(self._done.put)

    def _on_task_started(self, event: tuple[float, dict[str, str]]) -> None:
        # Runs in the client's thread, and for other runs on the scheduler too. A task whose worker died starts again.
        key = event[1]["key"]
        if key.startswith(self._name):
            self._starts[key] = _Start(at=time.monotonic(), worker=event[1]["worker"])

    def _settle(self, future: "Future[ChunkResult]") -> Iterator[tuple[Chunk, ChunkResult]]:
        task = self._tasks.pop(str(future.key), None)
        self._starts.pop(str(future.key), None)
        if task is None:  # it was overdue and has been cancelled
            return
        try:
            result = future.result()
        except KilledWorker:
            yield from self._split_or_fail(task, "the worker processes that ran it died", REMEDY_WORKER_DIED)
            return
        # A result that is still held would be computed again if its worker died.
        future.release()
        if result.frames and result.took and not result.failures:
            rate = result.took / max(1.0, task.chunk.seconds)
            self._rates[task.chunk.stream] = max(rate, self._rates.get(task.chunk.stream, MIN_RATE))
        yield task.chunk, result

    def _stop_overdue(self) -> Iterator[tuple[Chunk, ChunkResult]]:
        """Restart the worker of every task whose deadline has passed."""
        now = time.monotonic()
        for key, start in list(self._starts.items()):
            task = self._tasks.get(key)
            if task is None or task.future.done():
                continue
            allowed = self._allowed_seconds(task.chunk)
            if now - start.at <= allowed:
                continue
            if start.worker not in self._watch.addresses():
                # It died. The task waits for another worker, which reports when it starts.
                self._starts.pop(key, None)
                continue
            self._tasks.pop(key)
            self._starts.pop(key, None)
            # Cancelled first, or the scheduler would give it to the next worker.
            task.future.cancel(force=True)
            try:
                # KeyError: the worker has just died.
                with suppress(OSError, TimeoutError, KeyError):
                    self._client.restart_workers([start.worker], timeout=30, raise_for_error=False)
            except ValueError:
                raise FoalError(
                    f"worker {start.worker} does not finish {task.chunk.utterances[0].id} and has no nanny that could "
                    "restart it; stop it by hand, then run the same command again"
                ) from None
            reason = f"not finished within {duration(allowed)}; its worker was stopped"
            yield from self._split_or_fail(task, reason, REMEDY_TIMEOUT)

    def _shift_deadlines_after_suspend(self, waited: Seconds) -> None:
        """Move all deadlines if this process was suspended (Ctrl-Z), because its workers were then suspended too."""
        if waited > SUSPEND_THRESHOLD:
            # Items are replaced in place: the client's thread may be adding others.
            for key, start in list(self._starts.items()):
                self._starts[key] = replace(start, at=start.at + waited)
            self._watch.shift(waited)

    def _allowed_seconds(self, chunk: Chunk) -> Seconds:
        rate = self._rates.get(chunk.stream)
        return self._timeout + chunk.seconds * (UNKNOWN_RATE if rate is None else SLOWER * rate)

    def _split_or_fail(self, task: _Task, reason: str, remedy: str) -> Iterator[tuple[Chunk, ChunkResult]]:
        """Submit the halves of a chunk; try a single utterance again, and report it as failed in the end."""
        chunk = task.chunk
        if halves := bisect(chunk):
            for half in halves:
                self._start(half)
        elif task.attempt + 1 < MAX_ATTEMPTS:
            self._start(chunk, attempt=task.attempt + 1)
        else:
            unchanged = self._fingerprint(chunk) == task.fingerprint
            fingerprint = task.fingerprint if unchanged else CHANGED
            failure = build_failure(chunk, chunk.utterances[0], reason, fingerprint, remedy=remedy)
            yield chunk, ChunkResult(frames=0, failures=(failure,))
