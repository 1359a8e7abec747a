"""Asking files something in threads, where a disk may be slow and a file may never answer."""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

from ...shared.timing import Seconds

Question = TypeVar("Question", bound=Hashable)
Answer = TypeVar("Answer")

SILENCES = 2
"""After so many rounds of which nobody answered, the disk itself is silent: the rest is not asked any more."""

_POLL: Seconds = 1.0
_GRACE: Seconds = 1.0


def answers(
    questions: Iterable[Question], ask: Callable[[Question], Answer], *, patience: Seconds, threads: int = 8
) -> dict[Question, Answer]:
    """What `ask` gives for each question; those without an answer are left out.

    Nobody is given up as long as answers come: only if there is none at all for `patience` seconds, those who were
    asked last are, and the next are asked. What `ask` raises is raised here. An exception, also one of a signal, ends
    it within a second or so, whatever the threads wait for.
    """
    waiting = deque(dict.fromkeys(questions))
    count, found = len(waiting), dict[Question, Answer]()
    settled: SimpleQueue[tuple[Question, Answer] | BaseException] = SimpleQueue()
    begun: list[threading.Thread] = []

    def work() -> None:
        while True:
            try:
                question = waiting.popleft()
            except IndexError:
                return
            try:
                settled.put((question, ask(question)))
            except BaseException as error:
                settled.put(error)

    def begin() -> None:
        for _ in range(min(threads, len(waiting))):
            # Not a pool of concurrent.futures: Python waits for its threads at its end, and a daemon it leaves behind.
            begun.append(threading.Thread(target=work, name="foal-answers", daemon=True))
            begun[-1].start()

    try:
        begin()
        silences = 0
        while len(found) < count:
            if (got := _next(settled, patience)) is None:
                silences += 1
                if not waiting or silences == SILENCES:
                    break
                begin()
                continue
            if isinstance(got, BaseException):
                raise got
            silences = 0
            found[got[0]] = got[1]
        return found
    finally:
        waiting.clear()
        # Those that do not hang come to an end: none should be amidst a library when Python takes itself apart.
        until = time.monotonic() + _GRACE
        for thread in begun:
            thread.join(max(0.0, until - time.monotonic()))


def _next(settled: "SimpleQueue[Answer]", patience: Seconds) -> Answer | None:
    """The next answer, or None if there is none in time, of which a process that stands still (Ctrl-Z) uses up none."""
    waited = 0.0
    while waited < patience:
        step = min(_POLL, patience - waited)
        with suppress(Empty):
            return settled.get(timeout=step)
        waited += step
    return None
