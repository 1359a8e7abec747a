"""Prefetching: threads run jobs ahead of their consumer and fill one bounded queue per job."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item")


class _AbandonedError(Exception):
    """The consumer has stopped, so the producer stops, too."""


class _Queue(Generic[Item]):
    """The queue of one job: it holds items of at most `budget` bytes together, or a single larger one."""

    def __init__(self, size: Callable[[Item], int], budget: int) -> None:
        self._size = size
        self._budget = budget
        self._items: deque[Item] = deque()
        self._waiting = 0
        self._done = False
        self._abandoned = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def fill(self, job: Callable[[], Iterable[Item]]) -> None:
        """Run the job in the producer's thread; an exception is raised again in the consumer."""
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
        """Stop the producer at its next item."""
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
    """Run jobs ahead in threads.

    Args:
        jobs: functions that return iterables of items.
        threads: jobs that run at a time.
        size: the bytes of an item.
        budget: bytes of items that may wait in all queues.

    Yields:
        An iterator over the jobs, in their order; each element is an iterable of the items of a job, and raises what
        the job raised. Other jobs are not affected.
    """
    queues: list[_Queue[Item]] = [_Queue(size, budget // threads) for _ in jobs]
    # A job waits until few jobs before it are unconsumed: the queues of finished jobs take memory, too.
    slots = threading.Semaphore(threads + 1)
    stopped = threading.Event()

    def run(queue: _Queue[Item], job: Callable[[], Iterable[Item]]) -> None:
        slots.acquire()
        if not stopped.is_set():
            queue.fill(job)

    def in_order() -> Iterator[Iterable[Item]]:
        for queue in queues:
            yield queue
            queue.abandon()
            slots.release()

    with ThreadPoolExecutor(threads, thread_name_prefix="foal-prefetch") as pool:
        try:
            # Starting a thread may fail, and leaving the pool waits for the threads that were started.
            for queue, job in zip(queues, jobs, strict=True):
                pool.submit(run, queue, job)
            yield in_order()
        finally:
            stopped.set()
            for queue in queues:
                queue.abandon()
                slots.release()
