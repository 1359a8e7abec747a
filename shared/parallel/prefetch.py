"""Prefetching: threads run jobs ahead of their consumer, within one budget for all of them."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item")


class _AbandonedError(Exception):
    """The consumer has stopped, so the producer stops, too."""


class _Budget:
    """The bytes that wait in all queues together. Free bytes go to the blocked queue that is consumed first.

    The queue in turn may use the whole budget and add an item of any size while it is empty. The others leave it a
    share, so that its producer never waits for them.
    """

    def __init__(self, limit: int, *, share: int) -> None:
        self.lock = threading.Lock()
        self.turn = 0
        self._limit = limit
        self._others_limit = limit - share
        self._waiting = 0
        self._blocked: dict[int, threading.Condition] = {}

    def take(self, number: int, size: int, *, empty: Callable[[], bool], stopped: Callable[[], bool]) -> None:
        """Wait until queue `number` may add an item of `size` bytes. The lock is held."""
        if not self._free(number, empty=empty) and not stopped():
            self._blocked[number] = condition = threading.Condition(self.lock)
            condition.wait_for(lambda: self._free(number, empty=empty) or stopped())
            del self._blocked[number]
        self._waiting += size
        if self._waiting < self._others_limit:
            self.wake()

    def release(self, size: int) -> None:
        """Return the bytes of an item. The lock is held."""
        self._waiting -= size
        self.wake()

    def wake(self, number: int | None = None) -> None:
        """Let the producer of a queue check whether it may go on: of the first one blocked, or of `number`."""
        if self._blocked:
            number = min(self._blocked) if number is None else number
            if number in self._blocked:
                self._blocked[number].notify()

    def _free(self, number: int, *, empty: Callable[[], bool]) -> bool:
        if number <= self.turn:
            return self._waiting < self._limit or empty()
        return self._waiting < self._others_limit


class _Queue(Generic[Item]):
    """The queue of one job."""

    def __init__(self, number: int, size: Callable[[Item], int], budget: _Budget) -> None:
        self._number = number
        self._size = size
        self._budget = budget
        self._items: deque[Item] = deque()
        self._done = False
        self._abandoned = False
        self._error: BaseException | None = None
        self._changed = threading.Condition(budget.lock)

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
        with self._budget.lock:
            self._done, self._error = True, error
            self._changed.notify()

    def _put(self, item: Item) -> None:
        size = self._size(item)
        with self._budget.lock:
            self._budget.take(self._number, size, empty=lambda: not self._items, stopped=lambda: self._abandoned)
            if self._abandoned:
                self._budget.release(size)
                raise _AbandonedError
            self._items.append(item)
            self._changed.notify()

    def abandon(self) -> None:
        """Stop the producer at its next item, and drop what waits."""
        with self._budget.lock:
            self._abandoned = True
            self._budget.release(sum(map(self._size, self._items)))
            self._items.clear()
            self._budget.wake(self._number)

    def __iter__(self) -> Iterator[Item]:
        with self._budget.lock:
            self._budget.turn = self._number
            self._budget.wake()
        while True:
            with self._budget.lock:
                self._changed.wait_for(lambda: self._items or self._done)
                if not self._items:
                    if self._error is not None:
                        raise self._error
                    return
                item = self._items.popleft()
                self._budget.release(self._size(item))
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
        budget: bytes of items that may wait in all queues together. A thread's share of it is kept for the job that is
            consumed; the rest is first come, first served.

    Yields:
        An iterator over the jobs, in their order; each element is an iterable of the items of a job, and raises what
        the job raised. Other jobs are not affected.
    """
    shared = _Budget(budget, share=budget // (threads + 1))
    queues: list[_Queue[Item]] = [_Queue(number, size, shared) for number in range(len(jobs))]
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
