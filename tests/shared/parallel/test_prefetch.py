"""Work done ahead in threads, taken in order."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foal.shared.parallel.prefetch import prefetch


def counting(first: int, count: int) -> Callable[[], Iterator[int]]:
    return lambda: iter(range(first, first + count))


def one(_: int) -> int:
    return 1


@given(counts=st.lists(st.integers(0, 30), max_size=8), threads=st.integers(1, 4), budget=st.integers(1, 40))
def test_items_are_in_order_for_any_number_of_threads(counts: list[int], threads: int, budget: int) -> None:
    jobs = [counting(100 * number, count) for number, count in enumerate(counts)]
    with prefetch(jobs, threads=threads, size=one, budget=budget) as lanes:
        got = [list(lane) for lane in lanes]
    assert got == [list(range(100 * number, 100 * number + count)) for number, count in enumerate(counts)]


def test_prefetched_bytes_stay_within_the_budget() -> None:
    made, taken, most = 0, 0, 0
    lock = threading.Lock()

    def job() -> Iterator[bytes]:
        nonlocal made, most
        for _ in range(50):
            with lock:
                made += 1
                most = max(most, made - taken)
            yield b"x" * 10

    with prefetch([job] * 6, threads=2, size=len, budget=60) as lanes:
        for lane in lanes:
            for _ in lane:
                time.sleep(0.001)
                with lock:
                    taken += 1
    assert made == taken == 300
    # Two running jobs and one finished or waiting, three items each, one on its way in each thread and one just taken.
    assert most <= 3 * 3 + 3 + 1


def test_jobs_run_in_parallel() -> None:
    meeting = threading.Barrier(2, timeout=20)

    def job() -> Iterator[int]:
        meeting.wait()
        yield 1

    with prefetch([job, job], threads=2, size=one, budget=10) as lanes:
        assert [list(lane) for lane in lanes] == [[1], [1]]


def test_an_error_is_raised_in_its_place_and_affects_no_other_item() -> None:
    def broken() -> Iterator[int]:
        yield 7
        raise ValueError("broken")

    got: list[int] = []
    with prefetch([counting(0, 3), broken, counting(10, 2)], threads=2, size=one, budget=10) as lanes:
        got += next(lanes)
        lane = iter(next(lanes))
        got.append(next(lane))
        with pytest.raises(ValueError, match="broken"):
            next(lane)
        got += next(lanes)
    assert got == [0, 1, 2, 7, 10, 11]


def test_an_abandoned_iteration_ends_its_threads() -> None:
    def running() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("foal-prefetch")]

    def endless() -> Iterator[int]:
        while True:
            yield 1

    with prefetch([endless] * 5, threads=2, size=one, budget=3) as lanes:
        assert next(iter(next(lanes))) == 1
        assert running()
    assert not running()
