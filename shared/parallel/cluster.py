"""The Dask workers of a run: started on this machine, or those of a scheduler that is running already."""

import logging
import resource
import signal
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from uuid import uuid4

import dask
from distributed import Client, LocalCluster, WorkerPlugin
from distributed.comm.core import CommClosedError
from distributed.security import Security

from ..errors import FoalError, UsageError
from ..timing import Seconds

LOOPBACK = "127.0.0.1"
CONNECT_SECONDS = 20
SILENT = logging.CRITICAL + 1
"""Dask calls critical, with a traceback, what a run that ends over an error cannot avoid: its client is gone."""

REGISTRATIONS = 30
STARTS = 3

WORKER_ENVIRONMENT = {
    # The C library keeps freed memory for the next tensor. Dask's own setting gives it back at once, and every large
    # tensor is then paged in anew: FaceNet took 2.3 times as long.
    "MALLOC_TRIM_THRESHOLD_": 1 << 30,
    "MALLOC_MMAP_THRESHOLD_": 1 << 30,
    # In one heap for all threads: what the decoder frees is there for the encoder.
    "MALLOC_ARENA_MAX": 1,
    # oneDNN keeps what it built for every length of sound, 8 MB each: at its default of 1024 pieces nearly a gigabyte.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": 128,
}


class NamedPlugin(WorkerPlugin):
    """What a run gives to each of its workers; tasks find it there under its name."""

    name: str


def unique_name(kind: str) -> str:
    """A name that no other run has: several may share a scheduler, with its plugins, tasks and topics."""
    return f"{kind}-{uuid4().hex[:12]}"


@contextmanager
def local_cluster(workers: int, plugin: NamedPlugin, *, silence: Seconds = 300.0) -> Iterator[Client]:
    """Worker processes of one task at a time, reachable from this machine alone, with the run's plugin.

    One that gives no sign of life for `silence` seconds is replaced. Raises FoalError if they cannot be started.
    """
    configured = {
        # A worker may be killed by somebody else; of two over the same task it is the task.
        "distributed.scheduler.allowed-failures": 1,
        # A worker that holds much memory would be left without work for good; one that holds too much is replaced.
        "distributed.worker.memory.pause": False,
        "distributed.scheduler.worker-ttl": f"{silence}s",
        # A chunk is minutes of work: none should wait at a busy worker while another one has nothing to do.
        "distributed.scheduler.worker-saturation": 1.0,
        # Looks at every worker's stack a hundred times a second, for a page that is not shown.
        "distributed.worker.profile.enabled": False,
        "distributed.admin.system-monitor.interval": "5s",
        "distributed.nanny.pre-spawn-environ": {
            **dask.config.get("distributed.nanny.pre-spawn-environ"),
            **WORKER_ENVIRONMENT,
        },
    }
    # Whoever can talk to a scheduler has code of theirs run by it, and every user of a machine reaches its loopback:
    # the certificate of this one run is held in memory and by its own processes alone.
    security = Security.temporary()
    _raise_open_file_limit()
    with _translate_connection_loss():
        with dask.config.set(configured), _block_signals():
            cluster = _started(workers, security)
        with cluster, Client(cluster, security=security) as client:
            _register_plugin_with_retry(client, plugin)
            yield client


def _raise_open_file_limit() -> None:
    """As many as the system lets us have: each worker costs several, and 1024 is only usual for old programs' sake."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Where there is no upper limit the system may refuse to be told so; the lower one is then left as it is.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _started(workers: int, security: Security) -> LocalCluster:
    """The scheduler and its workers; one of them may be killed at its very beginning. Raises FoalError."""
    for left in reversed(range(STARTS)):
        try:
            return LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host=LOOPBACK,
                # None would still open the default port; 0 takes a free one.
                dashboard_address=f"{LOOPBACK}:0",
                security=security,
                silence_logs=SILENT,
            )
        except RuntimeError as error:
            if not left:
                raise FoalError(
                    f"{workers} worker processes cannot be started ({error}); if memory or file descriptors "
                    "(ulimit -n) are short, say fewer --workers"
                ) from error
    raise AssertionError


@contextmanager
def remote_cluster(address: str, plugin: NamedPlugin) -> Iterator[Client]:
    """The workers of a scheduler that is running already; they see the same files under the same names.

    Raises UsageError if there is no scheduler, or none has come to it yet.
    """
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise UsageError(f"--scheduler {address}: expected a running Dask scheduler, got none ({error})") from None
    except (TypeError, RuntimeError) as error:
        # Certificates without the scheme, or the scheme without certificates.
        raise UsageError(
            f"--scheduler {address}: the address and Dask's settings for TLS do not fit together ({error}); "
            "docs/reliability.md shows both"
        ) from None
    with _translate_connection_loss(), client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise UsageError(f"--scheduler {address}: expected a scheduler with workers, got one without")
        try:
            _register_plugin_with_retry(client, plugin)
        except (FoalError, OSError, CancelledError):
            raise
        except Exception as error:
            # Whatever a worker raises over it: mostly that there is no foal, or an older one.
            raise UsageError(
                f"--scheduler {address}: expected workers with this version of foal, got some that cannot load it "
                f"({error}); install the same foal in their environment"
            ) from None
        try:
            yield client
        finally:
            # They outlive this run, and should not keep what it loaded; one of them may just be dying.
            with suppress(OSError, TimeoutError, CancelledError):
                client.unregister_worker_plugin(plugin.name)


def _register_plugin_with_retry(client: Client, plugin: NamedPlugin) -> None:
    """Register the plugin. One of the workers may die over it; the next one in its place is given it at its start."""
    for left in reversed(range(REGISTRATIONS)):
        try:
            client.register_plugin(plugin)
            return
        except OSError:
            if not left or client.status != "running":
                raise
            time.sleep(1.0)


@contextmanager
def _translate_connection_loss() -> Iterator[None]:
    """Say in a sentence that the scheduler was lost, however Dask noticed; its own tracebacks would bury it."""
    # Dask gives many of its loggers a level of their own.
    for name in [*logging.root.manager.loggerDict, "asyncio"]:
        if name.partition(".")[0] in ("distributed", "asyncio"):
            logging.getLogger(name).setLevel(SILENT)
    try:
        yield
    except (CommClosedError, CancelledError) as error:
        raise FoalError(
            "the connection to the scheduler is lost; what was finished stays, the same command goes on from there"
        ) from error


@contextmanager
def _block_signals() -> Iterator[None]:
    """Ctrl-C, or a terminal that closes, reaches all its processes; those started meanwhile leave it to this one.

    A blocked signal is inherited by threads and processes, and one that comes meanwhile is delivered afterwards.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        # Started by the first spawned process, the tracker would unblock SIGINT in the thread that spawns.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
