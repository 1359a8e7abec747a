"""Jobs that run ahead of their consumer in threads; their items arrive in order."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foal.shared.parallel.prefetch import prefetch


def counting(first: int, count: int) -> Callable[[], Iterator[int]]:
    return lambda: iter(range(first, first + count))


def item_size(_: int) -> int:
    return 1


@given(counts=st.lists(st.integers(0, 30), max_size=8), threads=st.integers(1, 4), budget=st.integers(1, 40))
def test_items_are_in_order_for_any_number_of_threads(counts: list[int], threads: int, budget: int) -> None:
    jobs = [counting(100 * number, count) for number, count in enumerate(counts)]
    with prefetch(jobs, threads=threads, size=item_size, budget=budget) as queues:
        items = [list(queue) for queue in queues]
    assert items == [list(range(100 * number, 100 * number + count)) for number, count in enumerate(counts)]


def test_prefetched_bytes_stay_within_the_budget() -> None:
    produced, consumed, max_pending = 0, 0, 0
    lock = threading.Lock()

    def job() -> Iterator[bytes]:
        nonlocal produced, max_pending
        for _ in range(50):
            with lock:
                produced += 1
                max_pending = max(max_pending, produced - consumed)
            yield b"x" * 10

    with prefetch([job] * 6, threads=2, size=len, budget=60) as queues:
        for queue in queues:
            for _ in queue:
                time.sleep(0.001)
                with lock:
                    consumed += 1
    assert produced == consumed == 300
    # Six items fit. One more may be beyond the budget, one is in transit in each of two threads, and one that was just
    # consumed is still counted.
    assert max_pending <= 6 + 1 + 2 + 1


def test_jobs_that_wait_for_their_turn_share_the_whole_budget() -> None:
    finished = [threading.Event() for _ in range(3)]

    def job(number: int) -> Callable[[], Iterator[int]]:
        def run() -> Iterator[int]:
            yield from range(number, number + 10)
            finished[number].set()

        return run

    with prefetch([job(number) for number in range(3)], threads=3, size=item_size, budget=40) as queues:
        # Nothing is consumed. A quarter of the budget is kept for the first job, the other two get 10 items of 20.
        assert all(event.wait(20) for event in finished)
        assert [list(queue) for queue in queues] == [list(range(number, number + 10)) for number in range(3)]


def test_a_job_in_turn_does_not_wait_for_room_that_the_others_have_filled() -> None:
    filled = threading.Event()

    def late() -> Iterator[int]:
        filled.wait(20)
        yield from range(100)

    def early() -> Iterator[int]:
        for number in range(100):
            if number == 5:
                filled.set()
            yield number

    with prefetch([late, early], threads=2, size=item_size, budget=8) as queues:
        # The second job fills all but the share of the first one, which has not begun.
        assert [list(queue) for queue in queues] == [list(range(100))] * 2


def test_an_item_larger_than_the_budget_is_delivered() -> None:
    def item_bytes(_: int) -> int:
        return 1000

    with prefetch([counting(0, 3), counting(10, 3)], threads=2, size=item_bytes, budget=10) as queues:
        assert [list(queue) for queue in queues] == [[0, 1, 2], [10, 11, 12]]


def test_jobs_run_in_parallel() -> None:
    barrier = threading.Barrier(2, timeout=20)

    def job() -> Iterator[int]:
        barrier.wait()
        yield 1

    with prefetch([job, job], threads=2, size=item_size, budget=10) as queues:
        assert [list(queue) for queue in queues] == [[1], [1]]


def test_an_error_is_raised_in_order_and_affects_no_other_item() -> None:
    def broken() -> Iterator[int]:
        yield 7
        raise ValueError("broken")

    items: list[int] = []
    with prefetch([counting(0, 3), broken, counting(10, 2)], threads=2, size=item_size, budget=10) as queues:
        items += next(queues)
        queue = iter(next(queues))
        items.append(next(queue))
        with pytest.raises(ValueError, match="broken"):
            next(queue)
        items += next(queues)
    assert items == [0, 1, 2, 7, 10, 11]


def test_an_abandoned_iteration_ends_its_threads() -> None:
    def running_threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("foal-prefetch")]

    def endless() -> Iterator[int]:
        while True:
            yield 1

    with prefetch([endless] * 5, threads=2, size=item_size, budget=3) as queues:
        assert next(iter(next(queues))) == 1
        assert running_threads()
    assert not running_threads()
