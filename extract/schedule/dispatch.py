"""Distribute chunks over workers; bisect the chunks that kill or block workers until the utterance is known."""

import itertools
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue

from distributed import Client, Future, KilledWorker

from ...shared.errors import FoalError
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
WORKER_CHECK_SECONDS: Seconds = 10.0

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

    Every chunk ends in exactly one way:

        finished in time         its result is yielded, failures of single utterances included
        worker died over it      bisected, and the halves are submitted (Dask has tried it on a second worker before)
        deadline passed          its worker is restarted, and the chunk is bisected
        single utterance         tried MAX_ATTEMPTS times in all; then a result with one failure is yielded

    A deadline is `timeout` plus the media's seconds times SLOWER times the slowest rate of the stream so far. It counts
    from the event TASK_STARTED, which a worker sends once its encoder is loaded. The clock runs in this process,
    because a frozen worker could not stop itself.

    Example:
        dispatch = Dispatch(client, submit, name="foal-encoders-1", timeout=300.0, fingerprint=fingerprint)
        for result in dispatch.results(chunks):
            print(result.chunk.name, result.frames, result.failures)

    Args:
        client: the client of the scheduler.
        submit: submits a chunk under the given Dask key.
        name: a name that no other run on the scheduler has.
        timeout: seconds that any chunk may take.
        fingerprint: the current fingerprint of the file of a chunk with one utterance.
    """

    def __init__(
        self, client: Client, submit: Submit, *, name: str, timeout: Seconds, fingerprint: Fingerprint
    ) -> None:
        self._client = client
        self._submit = submit
        self._name = name
        self._timeout = timeout
        self._fingerprint = fingerprint
        self._numbers = itertools.count()
        self._tasks: dict[str, _Task] = {}
        self._starts: dict[str, _Start] = {}
        self._rates: dict[str, float] = {}
        self._done: SimpleQueue[Future[ChunkResult]] = SimpleQueue()
        self._workers_checked = time.monotonic()
        self._workers_seen = time.monotonic()
        client.subscribe_topic(TASK_STARTED, self._on_task_started)

    def results(self, chunks: Iterable[Chunk]) -> Iterator[ChunkResult]:
        """Run the chunks and yield a result for each, or for each of the parts into which it was bisected.

        Raises:
            FoalError: a shard cannot be written, or there are no workers any more.
            CancelledError: the connection to the scheduler is lost.
        """
        for chunk in chunks:
            self._start(chunk)
        while self._tasks:
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
            self._check_workers()

    def _start(self, chunk: Chunk, *, attempt: int = 0) -> None:
        # Several runs may share a scheduler, for which equal keys are the same task.
        key = f"{self._name}-{chunk.stream}-{chunk.name}-{next(self._numbers)}"
        fingerprint = self._fingerprint(chunk) if attempt else ""
        future = self._submit(chunk, key)
        self._tasks[key] = _Task(chunk=chunk, future=future, attempt=attempt, fingerprint=fingerprint)
        future.add_done_callback(self._done.put)

    def _on_task_started(self, event: tuple[float, dict[str, str]]) -> None:
        # Runs in the client's thread, and for other runs on the scheduler too. A task whose worker died starts again.
        self._starts[event[1]["key"]] = _Start(at=time.monotonic(), worker=event[1]["worker"])

    def _settle(self, future: "Future[ChunkResult]") -> Iterator[ChunkResult]:
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
        yield result

    def _stop_overdue(self) -> Iterator[ChunkResult]:
        """Restart the worker of every task whose deadline has passed."""
        now = time.monotonic()
        for key, start in list(self._starts.items()):
            task = self._tasks.get(key)
            if task is None or task.future.done():
                continue
            allowed = self._allowed_seconds(task.chunk)
            if now - start.at <= allowed:
                continue
            if start.worker not in self._workers():
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

    def _workers(self) -> Collection[str]:
        """The addresses of the scheduler's workers."""
        workers: Mapping[str, object] = self._client.scheduler_info(n_workers=-1)["workers"]
        return workers

    def _check_workers(self) -> None:
        """Raise FoalError if there have been no workers for as long as a chunk may take."""
        now = time.monotonic()
        if now - self._workers_checked < WORKER_CHECK_SECONDS:
            return
        self._workers_checked = now
        if self._workers():
            self._workers_seen = now
        elif now - self._workers_seen > self._timeout:
            raise FoalError(
                f"the scheduler has had no workers for {duration(now - self._workers_seen)}. Finished work is kept; "
                "start workers and rerun the same command to resume."
            )

    def _shift_deadlines_after_suspend(self, waited: Seconds) -> None:
        """Move all deadlines if this process was suspended (Ctrl-Z), because its workers were then suspended too."""
        if waited > SUSPEND_THRESHOLD:
            # Items are replaced in place: the client's thread may be adding others.
            for key, start in list(self._starts.items()):
                self._starts[key] = replace(start, at=start.at + waited)
            self._workers_seen += waited

    def _allowed_seconds(self, chunk: Chunk) -> Seconds:
        rate = self._rates.get(chunk.stream)
        return self._timeout + chunk.seconds * (UNKNOWN_RATE if rate is None else SLOWER * rate)

    def _split_or_fail(self, task: _Task, reason: str, remedy: str) -> Iterator[ChunkResult]:
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
            yield ChunkResult(chunk=chunk, frames=0, failures=(failure,))
