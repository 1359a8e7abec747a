"""Files that are asked something: slow ones are waited for, silent ones are not."""

import subprocess
import sys
import threading
import time

import pytest

from foal.extract.schedule.timeouts import SILENCES, answers

PATIENCE = 1.5

HANGING = """
import sys, time
from foal.extract.schedule.timeouts import answers
from foal.shared.cli.signals import StoppedError, Stopping
Stopping().listen()
print("asking", flush=True)
try:
    answers(range(40_000), lambda n: time.sleep(600 if n % 2 else 0.01), patience=300)
except StoppedError:
    sys.exit(130)
"""


def test_everything_is_asked_once() -> None:
    asked: list[int] = []

    def square(number: int) -> int:
        asked.append(number)
        return number**2

    assert answers([*range(1000), *range(1000)], square, patience=60) == {n: n**2 for n in range(1000)}
    assert sorted(asked) == list(range(1000))
    assert answers([], square, patience=60) == {}


def test_what_it_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        answers(range(-50, 50), lambda number: 1 / number, patience=60)


def test_the_slow_are_waited_for_and_the_silent_are_not() -> None:
    """More of them than there are threads: those that are given up are replaced."""
    ended = threading.Event()

    def ask(number: int) -> int:
        if number < 5:
            ended.wait(120)
        else:
            # All of them together take longer than anybody would wait for one.
            time.sleep(PATIENCE / 5)
        return number

    try:
        assert answers(range(25), ask, patience=PATIENCE, threads=3).keys() == set(range(5, 25))
    finally:
        ended.set()


def test_a_disk_that_is_silent_is_not_asked_for_every_file() -> None:
    ended = threading.Event()
    asked: list[int] = []

    def ask(number: int) -> None:
        asked.append(number)
        ended.wait(120)

    try:
        assert answers(range(1000), ask, patience=PATIENCE, threads=3) == {}
        assert len(asked) == 3 * SILENCES
    finally:
        ended.set()


def test_a_signal_ends_it_and_the_process() -> None:
    with subprocess.Popen([sys.executable, "-c", HANGING], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "asking\n"
        time.sleep(0.5)
        process.send_signal(2)
        began = time.monotonic()
        assert process.wait(60) == 130
        assert time.monotonic() - began < 15
