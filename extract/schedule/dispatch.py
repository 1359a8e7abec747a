"""Hands chunks to workers, and takes those apart over which workers die or hang until the utterance is known."""

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
from .failures import CHANGED, DIED, HUNG, ChunkResult, failure_of
from .plan import Chunk, halves
from .worker import BEGUN

ROUNDS = 2
"""So often an utterance is tried alone: workers that somebody else kills, and disks that stall, are not its fault."""

SLOWER, UNKNOWN_RATE = 5.0, 100.0
"""A chunk may be so many times slower than the slowest of its stream; and than real time, before one is finished."""

LEAST_RATE = 0.2
"""Seconds of work for a second of media: chunks are taken to be at least as slow."""

POLL: Seconds = 1.0
LOOK: Seconds = 10.0
STOOD_STILL: Seconds = 10.0

Submit = Callable[[Chunk, str], "Future[ChunkResult]"]
Fingerprint = Callable[[Chunk], str]


@dataclass(frozen=True, kw_only=True)
class _Task:
    chunk: Chunk
    future: "Future[ChunkResult]"
    round: int
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class _Begun:
    at: float
    worker: str


class Dispatch:
    """The chunks of a run on their way through its workers."""

    def __init__(
        self, client: Client, submit: Submit, *, name: str, patience: Seconds, fingerprint: Fingerprint
    ) -> None:
        """`submit` gives a chunk to the workers under a key; `patience` is the least that a chunk may take.

        No other run on the scheduler has its `name`.

        `fingerprint` says what the file of a chunk of one utterance is now.
        """
        self._client, self._submit, self._patience, self._fingerprint = client, submit, patience, fingerprint
        self._name, self._numbers = name, itertools.count()
        self._looked = self._seen = time.monotonic()
        self._open: dict[str, _Task] = {}
        self._begun: dict[str, _Begun] = {}
        self._rates: dict[str, float] = {}
        self._settled: SimpleQueue[Future[ChunkResult]] = SimpleQueue()
        client.subscribe_topic(BEGUN, self._begins)

    def results(self, chunks: Iterable[Chunk]) -> Iterator[ChunkResult]:
        """What becomes of each chunk, or of its parts, as they come.

        Raises FoalError if a shard cannot be written or no worker is left, CancelledError if the scheduler is lost.
        """
        for chunk in chunks:
            self._start(chunk)
        while self._open:
            began = time.monotonic()
            settled = []
            with suppress(Empty):
                settled.append(self._settled.get(timeout=POLL))
                # All that is done, before anything is judged by the clock.
                while True:
                    settled.append(self._settled.get_nowait())
            self._forgive(time.monotonic() - began)
            for future in settled:
                yield from self._settle(future)
            yield from self._stop_overdue()
            self._check_workers()

    def _start(self, chunk: Chunk, *, again: int = 0) -> None:
        # Several runs may share a scheduler, to which a key is a task.
        key = f"{self._name}-{chunk.stream}-{chunk.name}-{next(self._numbers)}"
        before = self._fingerprint(chunk) if again else ""
        future = self._submit(chunk, key)
        self._open[key] = _Task(chunk=chunk, future=future, round=again, fingerprint=before)
        future.add_done_callback(self._settled.put)

    def _begins(self, event: tuple[float, dict[str, str]]) -> None:
        # In the client's own thread, also of other runs on the scheduler; a task whose worker died begins once more.
        self._begun[event[1]["key"]] = _Begun(at=time.monotonic(), worker=event[1]["worker"])

    def _settle(self, future: "Future[ChunkResult]") -> Iterator[ChunkResult]:
        task = self._open.pop(str(future.key), None)
        self._begun.pop(str(future.key), None)
        if task is None:  # it was overdue
            return
        try:
            result = future.result()
        except KilledWorker:
            yield from self._take_apart(task, "the worker processes that tried it died over it", DIED)
            return
        # A result still held would be computed again if its worker died.
        future.release()
        if result.frames and result.took and not result.failures:
            rate = result.took / max(1.0, task.chunk.seconds)
            self._rates[task.chunk.stream] = max(rate, self._rates.get(task.chunk.stream, LEAST_RATE))
        yield result

    def _stop_overdue(self) -> Iterator[ChunkResult]:
        """End the worker of every task that has had its time."""
        now = time.monotonic()
        for key, begun in list(self._begun.items()):
            task = self._open.get(key)
            if task is None or task.future.done() or now - begun.at <= (allowed := self._allowed(task.chunk)):
                continue
            if begun.worker not in self._workers():
                # It died. The task waits for another one, which will say so when it begins.
                self._begun.pop(key, None)
                continue
            self._open.pop(key)
            self._begun.pop(key, None)
            # First, or the scheduler would give it to the next worker.
            task.future.cancel(force=True)
            try:
                # KeyError: it died just now.
                with suppress(OSError, TimeoutError, KeyError):
                    self._client.restart_workers([begun.worker], timeout=30, raise_for_error=False)
            except ValueError:
                raise FoalError(
                    f"the worker {begun.worker} hangs over {task.chunk.utterances[0].id}, and has no nanny that could "
                    "stop it; stop it by hand, then run the same command again"
                ) from None
            reason = f"not finished within {duration(allowed)}; its worker was stopped"
            yield from self._take_apart(task, reason, HUNG)

    def _workers(self) -> Collection[str]:
        """The addresses of the workers that the scheduler has."""
        workers: Mapping[str, object] = self._client.scheduler_info(n_workers=-1)["workers"]
        return workers

    def _check_workers(self) -> None:
        """Raise FoalError if there have been none for as long as a chunk may take."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return
        self._looked = now
        if self._workers():
            self._seen = now
        elif now - self._seen > self._patience:
            raise FoalError(
                f"the scheduler has had no workers for {duration(now - self._seen)}; what was finished stays, start "
                "workers and run the same command again"
            )

    def _forgive(self, waited: Seconds) -> None:
        """Move all deadlines if this process stood still (Ctrl-Z), as its workers then did."""
        if waited > STOOD_STILL:
            # In place: the client's thread may just be adding to it.
            for key, begun in list(self._begun.items()):
                self._begun[key] = replace(begun, at=begun.at + waited)
            self._seen += waited

    def _allowed(self, chunk: Chunk) -> Seconds:
        rate = self._rates.get(chunk.stream)
        return self._patience + chunk.seconds * (UNKNOWN_RATE if rate is None else SLOWER * rate)

    def _take_apart(self, task: _Task, reason: str, remedy: str) -> Iterator[ChunkResult]:
        chunk = task.chunk
        if parts := halves(chunk):
            for part in parts:
                self._start(part)
        elif task.round + 1 < ROUNDS:
            self._start(chunk, again=task.round + 1)
        else:
            same = self._fingerprint(chunk) == task.fingerprint
            what = task.fingerprint if same else CHANGED
            failed = failure_of(chunk, chunk.utterances[0], reason, what, remedy=remedy)
            yield ChunkResult(chunk=chunk, frames=0, failures=(failed,))
