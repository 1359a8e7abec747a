"""The state of a run in a Dask worker, and what its tasks find there.

Dask's scheduler imports the module of every task. This module and those of the tasks therefore do not import torch.
"""

import math
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

import dask
from distributed import Reschedule, Worker, WorkerPlugin, get_worker

from ... import __version__
from ..errors import UsageError
from ..timing import Seconds

MAX_WAIT: Seconds = 10.0
"""A task that waits for another one of its worker for this long is given back to the scheduler."""


_LOCKS: WeakKeyDictionary[Worker, threading.Lock] = WeakKeyDictionary()
"""The lock of each worker, which all plugins of foal share."""


def unique_name(kind: str) -> str:
    """A name that no other run uses: several runs may share a scheduler with its plugins, tasks and topics."""
    return f"{kind}-{uuid4().hex[:12]}"


class NamedPlugin(WorkerPlugin):
    """The state of a run in each of its workers; tasks find it under its name, with `plugin_of`.

    Sub-classes extend `prepare`, and `release` if something must be closed.
    """

    max_wait = MAX_WAIT

    def __init__(self, kind: str) -> None:
        """`kind` is the first part of the name."""
        self.name = unique_name(kind)
        self.version = __version__
        self.error: Exception | None = None

    def prepare(self, worker: Worker) -> None:
        """Prepare a worker; called before its first task."""

    def release(self) -> None:
        """Free what `prepare` made; called at the end of the run."""

    def run(self, task: Any) -> Any:
        """Run a task that was sent with `run_pickled`."""
        raise NotImplementedError

    def setup(self, worker: Worker) -> None:
        """Called by Dask in each worker, also in those that start later."""
        self._lock = _LOCKS.setdefault(worker, threading.Lock())
        try:
            if self.version != __version__:
                raise UsageError(
                    f"expected workers with foal {self.version}, the version of the command, got foal {__version__}; "
                    "install the same foal in their environment"
                )
            # Encoders and features are no data that Dask manages: it cannot free them, and a worker that it paused
            # would stay paused for good. With an infinite threshold it also resumes one that is paused already. The
            # nanny still restarts a worker that exceeds its memory.
            worker.memory_manager.memory_pause_fraction = math.inf
            self.prepare(worker)
        except Exception as error:
            # Dask reports this to the client only for workers that run already; `plugin_of` raises it in the others.
            self.error = error
            raise

    def teardown(self, worker: Worker) -> None:
        """Called by Dask at the end of the run."""
        if self.error is None:
            self.release()
        if not any(isinstance(plugin, NamedPlugin) for plugin in worker.plugins.values()):
            worker.memory_manager.memory_pause_fraction = dask.config.get("distributed.worker.memory.pause")

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Let one task at a time use the worker, also if several runs share it.

        The state of random numbers and the number of threads belong to the process: two runs that built encoders with
        random weights at the same time would each get other weights.

        The scheduler sends a task to every thread of a worker. Those that cannot run would keep it from workers that
        start later or have nothing to do, so they are given back after `max_wait`. Raises Reschedule.
        """
        if not self._lock.acquire(timeout=self.max_wait):
            raise Reschedule
        try:
            yield
        finally:
            self._lock.release()


def plugin_of(name: str) -> NamedPlugin:
    """The plugin of a run in this worker; raises the error that its preparation raised."""
    plugin = get_worker().plugins[name]
    assert isinstance(plugin, NamedPlugin)
    if plugin.error is not None:
        raise plugin.error
    return plugin


def run_pickled(task: bytes, plugin_name: str) -> Any:
    """Let the plugin run a pickled task: the scheduler, which unpickles arguments, then imports none of its modules."""
    return plugin_of(plugin_name).run(pickle.loads(task))
