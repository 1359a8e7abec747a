"""Which workers of a cluster can run tasks, and what a run waits for when there are none."""

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from distributed import Client

from ..errors import FoalError
from ..text import counted, duration
from ..timing import Seconds

log = logging.getLogger(__name__)

CHECK_SECONDS: Seconds = 10.0
WAITING_CHECK_SECONDS: Seconds = 1.0
"""Time between two looks at the workers, and the same while there are none."""

MESSAGE_SECONDS: Seconds = 60.0
"""A run that waits prints the reason at once, and then no more often than this."""

MIN_WINDOW = 200
TASKS_PER_THREAD = 4
"""Tasks that are submitted at a time: enough for every worker, and for a cluster that grows by its queue."""

GIGABYTE = 1e9


@dataclass(frozen=True, kw_only=True)
class WorkerState:
    """A worker as its scheduler knows it; memory in bytes, and a limit of 0 if it has none."""

    status: str
    threads: int
    memory: int
    memory_limit: int


class WorkerWatch:
    """Counts the workers that can run tasks; a run that has none prints what it waits for, and ends after `max_wait`.

    Paused workers cannot run tasks. `poll` is to be called about once per second.

    Attributes:
        running: number of workers that can run tasks.
        threads: number of their threads.

    Args:
        client: the client of the scheduler.
        max_wait: seconds without workers after which the run ends; None: it waits as long as the scheduler lives.
        memory: bytes of memory that a worker needs; 0: unknown.
    """

    def __init__(self, client: Client, *, max_wait: Seconds | None, memory: int = 0) -> None:
        self._client = client
        self._max_wait = max_wait
        self._memory = memory
        self._checked = -CHECK_SECONDS
        self._told = -MESSAGE_SECONDS
        self._last_running = time.monotonic()
        self._waiting = False
        self._small: set[str] = set()
        self.running = 0
        self.threads = 0

    @property
    def window(self) -> int:
        """Number of tasks that should be submitted and not yet finished."""
        return max(MIN_WINDOW, TASKS_PER_THREAD * self.threads)

    def addresses(self) -> Collection[str]:
        """The addresses of all workers at this moment."""
        return self._scheduler_info().keys()

    def poll(self) -> None:
        """Look at the workers if it is time to.

        Raises:
            FoalError: there have been no running workers for `max_wait` seconds.
        """
        now = time.monotonic()
        if now - self._checked < (WAITING_CHECK_SECONDS if self._waiting else CHECK_SECONDS):
            return
        self._checked = now
        workers = {address: _state(entry) for address, entry in self._scheduler_info().items()}
        running = [worker for worker in workers.values() if worker.status == "running"]
        self.running = len(running)
        self.threads = sum(worker.threads for worker in running)
        self._warn_of_small_memory(workers)
        if running:
            if self._waiting:
                log.info(f"{counted(self.running, 'worker')} running")
            self._waiting = False
            self._last_running = now
            return
        self._waiting = True
        text = self._waiting_for(workers.values())
        waited = now - self._last_running
        if self._max_wait is not None and waited > self._max_wait:
            raise FoalError(
                f"waited {duration(waited)} for workers: {text}. Finished work is kept; start workers and rerun the "
                "same command to resume."
            )
        if now - self._told >= MESSAGE_SECONDS:
            self._told = now
            log.info(f"waiting for workers: {text}")

    def shift(self, seconds: Seconds) -> None:
        """Leave out the time for which this process was suspended."""
        self._last_running += seconds

    def _scheduler_info(self) -> Mapping[str, Mapping[str, Any]]:
        workers: Mapping[str, Mapping[str, Any]] = self._client.scheduler_info(n_workers=-1)["workers"]
        return workers

    def _waiting_for(self, workers: Collection[WorkerState]) -> str:
        paused = [worker for worker in workers if worker.status == "paused"]
        parts = ["0 running"]
        if paused:
            limited = [worker.memory / worker.memory_limit for worker in paused if worker.memory_limit]
            parts.append(f"{len(paused)} paused" + (f" at {max(limited):.0%} memory" if limited else ""))
        if others := len(workers) - len(paused):
            parts.append(f"{others} starting or closing")
        remedy = ""
        if paused:
            enough = f"at least {self._memory / GIGABYTE:.1f} GB" if self._memory else "more memory"
            remedy = f"; give them {enough} (dask worker --memory-limit)"
        return ", ".join(parts) + remedy

    def _warn_of_small_memory(self, workers: Mapping[str, WorkerState]) -> None:
        """Warn once of workers that were started with less memory than the run needs."""
        small = {address for address, worker in workers.items() if 0 < worker.memory_limit < self._memory}
        if small - self._small:
            limit = min(workers[address].memory_limit for address in small)
            log.warning(
                f"{len(small)} of {counted(len(workers), 'worker')} may use {limit / GIGABYTE:.1f} GB of memory, but "
                f"the encoders need about {self._memory / GIGABYTE:.1f} GB, so their nannies may stop them; start them "
                "with a larger --memory-limit, or fewer of them per machine"
            )
        self._small |= small


def _state(entry: Mapping[str, Any]) -> WorkerState:
    return WorkerState(
        status=entry["status"],
        threads=entry["nthreads"],
        memory=int(entry["metrics"].get("memory", 0)),
        memory_limit=int(entry["memory_limit"] or 0),
    )
