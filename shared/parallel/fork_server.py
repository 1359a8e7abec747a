"""The process that imports the libraries of a run once and forks the local workers.

    foal extract ── scheduler, nannies
      └── fork server: imports torch, transformers, ...
            ├── worker
            └── worker

It is Python's `multiprocessing.forkserver`; this module decides what it imports, its environment and its signals. It
does not import Dask, so that both are imported at the same time.
"""

import atexit
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker

from .preload import LIBRARIES
from .resources import has_gpu_driver

WORKER_ENVIRONMENT: Mapping[str, str] = {
    # Let the C library keep freed memory for the next tensor. Dask's default returns it at once, and every large
    # tensor is then paged in again: FaceNet took 2.3 times as long.
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    # One heap for all threads: the encoder can reuse what the decoder has freed.
    "MALLOC_ARENA_MAX": "1",
    # oneDNN caches a primitive of 8 MB for every length of audio: with its default of 1024, nearly a gigabyte.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128",
}
"""Variables that libraries read when a process starts; those that Dask sets for its workers are added to them."""

DASK_ENVIRONMENT: Mapping[str, str] = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

_started = False


def start_fork_server(libraries: Iterable[str]) -> None:
    """Start the fork server unless it runs already, and return at once: it imports the libraries meanwhile.

    The process ends with this one. On a machine with a GPU nothing is started, and workers are not forked: CUDA cannot
    be used in a process whose parent has initialized it, as the import of a library may do.

    Args:
        libraries: modules to import. One that cannot be imported is left to the workers, which report it.
    """
    global _started
    if _started or has_gpu_driver():
        return
    added = {**DASK_ENVIRONMENT, **WORKER_ENVIRONMENT, LIBRARIES: ",".join(libraries)}
    before = {name: os.environ.get(name) for name in added}
    forkserver.set_forkserver_preload([f"{__package__}.preload"])
    os.environ.update(added)
    try:
        with block_signals():
            forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    _started = True
    atexit.register(_stop_fork_server)


def _stop_fork_server() -> None:
    """End it with this process, even while it imports: a reader of this process's output would wait for it.

    SIGKILL, since it inherits an ignored SIGTERM. It has nothing to save, and its workers have ended before.
    """
    with suppress(ProcessLookupError):
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)  # type: ignore[attr-defined]


def start_method() -> str:
    """How Dask starts local workers: `forkserver` after `start_fork_server`, else `spawn`."""
    return "forkserver" if _started else "spawn"


@contextmanager
def block_signals() -> Iterator[None]:
    """Let processes that are started in this block ignore Ctrl-C and the end of the terminal; this process handles it.

    Blocked signals are inherited by new threads and processes; a signal during the block is delivered after it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        # If the first spawned process started the tracker, it would unblock SIGINT in the spawning thread.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
