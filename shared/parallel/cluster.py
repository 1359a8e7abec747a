"""The Dask workers of a run: started on this machine, or those of a running scheduler."""

import logging
import resource
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, contextmanager, suppress

import dask
from distributed import Client, LocalCluster
from distributed.comm.core import CommClosedError
from distributed.security import Security

from ..config.settings import ClusterSettings
from ..errors import FoalError, UsageError
from ..timing import Seconds
from .fork_server import WORKER_ENVIRONMENT, block_signals, start_method
from .plugin import NamedPlugin
from .versions import check_versions

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
CONNECT_TIMEOUT: Seconds = 20
HEARTBEAT_TIMEOUT: Seconds = 300.0
"""A local worker without a heartbeat for this long is replaced."""

SILENT = logging.CRITICAL + 1
"""Log level above all of Dask's: a run that ends with an error leaves a client that Dask reports with a traceback."""

MAX_REGISTRATIONS = 30
MAX_STARTS = 3


def open_cluster(
    settings: ClusterSettings, plugin: NamedPlugin, *, workers: int, heartbeat_timeout: Seconds = HEARTBEAT_TIMEOUT
) -> AbstractContextManager[Client]:
    """The workers of a run, with its plugin: those of `settings.scheduler`, or else local processes.

    Args:
        settings: the settings of the cluster.
        plugin: the state of the run; it is registered with every worker.
        workers: number of local processes.
        heartbeat_timeout: seconds without a heartbeat after which a local worker is replaced.

    Returns:
        A context manager that yields the Dask client.
    """
    if settings.scheduler is not None:
        return remote_cluster(settings.scheduler, plugin)
    return local_cluster(workers, plugin, silence=heartbeat_timeout)


@contextmanager
def local_cluster(workers: int, plugin: NamedPlugin, *, silence: Seconds = HEARTBEAT_TIMEOUT) -> Iterator[Client]:
    """Start worker processes that run one task at a time and listen on the loopback interface only.

    Args:
        workers: number of processes.
        plugin: the state of the run; it is registered with every worker.
        silence: seconds without a heartbeat after which a worker is replaced.

    Raises:
        FoalError: the workers cannot be started, or the connection to the scheduler is lost.
    """
    configured = {
        # One dead worker may have been killed from outside; if two die over the same task, the task is the cause.
        "distributed.scheduler.allowed-failures": 1,
        # A worker that uses much memory would be paused for good; one that uses too much is replaced.
        "distributed.worker.memory.pause": False,
        "distributed.scheduler.worker-ttl": f"{silence}s",
        # A chunk takes minutes: none should wait for a busy worker while another worker is idle.
        "distributed.scheduler.worker-saturation": 1.0,
        # The profiler samples every worker's stack a hundred times a second, for a page that is not shown.
        "distributed.worker.profile.enabled": False,
        "distributed.admin.system-monitor.interval": "5s",
        "distributed.nanny.pre-spawn-environ": {
            **dask.config.get("distributed.nanny.pre-spawn-environ"),
            **WORKER_ENVIRONMENT,
        },
    }
    security = _temporary_security()
    _raise_open_file_limit()
    # Nannies read it each time they replace a worker.
    method = dask.config.set({"distributed.worker.multiprocessing-method": start_method()})
    with _translate_connection_loss(), method:
        with dask.config.set(configured), block_signals():
            cluster = _start(workers, security)
        with cluster, Client(cluster, security=security) as client:
            _register_plugin_with_retry(client, plugin)
            yield client


def _temporary_security() -> Security | None:
    """A certificate for this run, held in the memory of its processes; None without the package cryptography.

    A scheduler runs the code of its clients, and every user of a machine can connect to its loopback interface.
    """
    try:
        security: Security = Security.temporary()
        return security
    except ImportError:
        log.warning(
            "connections to the workers are not encrypted: other users of this machine could run code in them; "
            "install the extra `tls` (the package cryptography) to prevent that"
        )
        return None


def _raise_open_file_limit() -> None:
    """Raise the limit on open files to the maximum: each worker needs several, and the default is often 1024."""
    _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Some systems without a hard limit refuse to set it.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))


def _start(workers: int, security: Security | None) -> LocalCluster:
    """Start the scheduler and its workers; try again if a worker is killed while it starts. Raises FoalError."""
    for retries_left in reversed(range(MAX_STARTS)):
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
            if not retries_left:
                raise FoalError(
                    f"{workers} worker processes cannot be started ({error}); if memory or file descriptors "
                    "(ulimit -n) are short, use fewer --workers"
                ) from error
    raise AssertionError


@contextmanager
def remote_cluster(address: str, plugin: NamedPlugin) -> Iterator[Client]:
    """Use the workers of a running scheduler, also those that start later; they must see the same files.

    Args:
        address: the address of the scheduler.
        plugin: the state of the run; it is registered with every worker, and removed again at the end.

    Raises:
        UsageError: there is no scheduler, or it or a worker has another version of foal, or none.
        FoalError: the connection to the scheduler is lost.
    """
    try:
        client = Client(address, timeout=CONNECT_TIMEOUT)
    except (OSError, ValueError) as error:
        raise UsageError(f"--scheduler {address}: expected a running Dask scheduler, got none ({error})") from None
    except (TypeError, RuntimeError) as error:
        # Certificates without the scheme, or the scheme without certificates.
        raise UsageError(
            f"--scheduler {address}: the address and Dask's settings for TLS do not match ({error}); "
            "docs/reliability.md shows both"
        ) from None
    with _translate_connection_loss(), client:
        try:
            check_versions(client, address)
            _register_plugin_with_retry(client, plugin)
        except (FoalError, OSError, CancelledError):
            raise
        except Exception as error:
            # They can raise anything; mostly a library is missing, or Python is another one.
            raise UsageError(
                f"--scheduler {address}: expected a scheduler and workers that can load foal, got some that cannot "
                f"({error}); install the same Python, foal and dependencies in their environment"
            ) from None
        try:
            yield client
        finally:
            # The workers outlive this run, and should free what it loaded; a worker may be dying at this moment.
            with suppress(OSError, TimeoutError, CancelledError):
                client.unregister_worker_plugin(plugin.name)


def _register_plugin_with_retry(client: Client, plugin: NamedPlugin) -> None:
    """Register the plugin; try again if a worker dies meanwhile, since its successor gets the plugin when it starts."""
    for retries_left in reversed(range(MAX_REGISTRATIONS)):
        try:
            client.register_plugin(plugin)
            return
        except OSError:
            if not retries_left or client.status != "running":
                raise
            time.sleep(1.0)


@contextmanager
def _translate_connection_loss() -> Iterator[None]:
    """Turn the exceptions of a lost connection into one FoalError, and silence Dask's own tracebacks."""
    # Dask sets the levels of many of its loggers itself.
    for name in [*logging.root.manager.loggerDict, "asyncio"]:
        if name.partition(".")[0] in ("distributed", "asyncio"):
            logging.getLogger(name).setLevel(SILENT)
    try:
        yield
    except (CommClosedError, CancelledError) as error:
        raise FoalError(
            "the connection to the scheduler is lost; finished work is kept; rerun the same command to resume"
        ) from error
