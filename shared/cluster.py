"""The Dask workers of a run: started on this machine, or those of a scheduler that is running already."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

import dask
from distributed import Client, LocalCluster, WorkerPlugin

from .errors import UsageError

LOOPBACK = "127.0.0.1"
CONNECT_SECONDS = 20

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


@contextmanager
def local_cluster(workers: int, plugin: NamedPlugin) -> Iterator[Client]:
    """Worker processes of one task at a time, reachable from this machine alone, with the run's plugin."""
    # A worker that is killed four times over the same chunk is not going to live through a fifth.
    configured = {
        "distributed.scheduler.allowed-failures": 3,
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
    with dask.config.set(configured), _interrupts_held_back():
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host=LOOPBACK,
            # None would still open the default port; 0 takes a free one.
            dashboard_address=f"{LOOPBACK}:0",
            silence_logs=logging.CRITICAL,
        )
    with cluster, Client(cluster) as client:
        client.register_plugin(plugin)
        yield client


@contextmanager
def remote_cluster(address: str, plugin: NamedPlugin) -> Iterator[Client]:
    """The workers of a scheduler that is running already; they see the same files under the same names.

    Raises UsageError if there is no scheduler, or none has come to it yet.
    """
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise UsageError(f"--scheduler {address}: expected a running Dask scheduler, got none ({error})") from None
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise UsageError(f"--scheduler {address}: expected a scheduler with workers, got one without")
        client.register_plugin(plugin)
        try:
            yield client
        finally:
            # They outlive this run, and should not keep what it loaded.
            client.unregister_worker_plugin(plugin.name)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C reaches every process of the terminal; those started by threads started here leave it to this one.

    A blocked signal is inherited by threads and processes, and one that comes meanwhile is delivered afterwards.
    """
    # Started by the first spawned process, the tracker would unblock the signal in the thread that spawns.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
