"""Work done ahead: threads fill bounded queues, one per job, and the jobs are consumed in their order."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item")


class _AbandonedError(Exception):
    """The consumer has gone; the producer stops."""


class _Lane(Generic[Item]):
    """The queue of one job: items of at most `budget` bytes together (or a single larger one) wait in it."""

    def __init__(self, size: Callable[[Item], int], budget: int) -> None:
        self._size, self._budget = size, budget
        self._items: deque[Item] = deque()
        self._waiting = 0
        self._done = self._abandoned = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def fill(self, job: Callable[[], Iterable[Item]]) -> None:
        """Run the job; in the producer's thread. What it raises is raised where its items are taken."""
        error: BaseException | None = None
        try:
            for item in job():
                self._put(item)
        except _AbandonedError:
            pass
        except BaseException as raised:
            error = raised
        with self._changed:
            self._done, self._error = True, error
            self._changed.notify_all()

    def _put(self, item: Item) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._abandoned or not self._items or self._waiting < self._budget)
            if self._abandoned:
                raise _AbandonedError
            self._items.append(item)
            self._waiting += self._size(item)
            self._changed.notify_all()

    def abandon(self) -> None:
        """Let the producer stop at its next item."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Item]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._done)
                if not self._items:
                    if self._error is not None:
                        raise self._error
                    return
                item = self._items.popleft()
                self._waiting -= self._size(item)
                self._changed.notify_all()
            yield item


@contextmanager
def prefetch(
    jobs: Sequence[Callable[[], Iterable[Item]]], *, threads: int, size: Callable[[Item], int], budget: int
) -> Iterator[Iterator[Iterable[Item]]]:
    """Within it, an iterator over the jobs, in order, each an iterable of its items.

    `threads` jobs run at a time, ahead of the one whose items are being taken; all that wait are about `budget` bytes,
    as `size` counts them. What a job raises is raised by its iterable; the others are not touched by it. Which
    thread is how far ahead shows in nothing but the time.
    """
    lanes: list[_Lane[Item]] = [_Lane(size, budget // threads) for _ in jobs]
    # A job starts only when few of those before it are unconsumed: the queues of finished ones take memory, too.
    slots = threading.Semaphore(threads + 1)
    stopped = threading.Event()

    def run(lane: _Lane[Item], job: Callable[[], Iterable[Item]]) -> None:
        slots.acquire()
        if not stopped.is_set():
            lane.fill(job)

    def in_order() -> Iterator[Iterable[Item]]:
        for lane in lanes:
            yield lane
            lane.abandon()
            slots.release()

    with ThreadPoolExecutor(threads, thread_name_prefix="foal-ahead") as pool:
        try:
            # Starting a thread may fail, and leaving the pool waits for those that were started.
            for lane, job in zip(lanes, jobs, strict=True):
                pool.submit(run, lane, job)
            yield in_order()
        finally:
            stopped.set()
            for lane in lanes:
                lane.abandon()
                slots.release()
