"""The state of a run in its workers: one task at a time, no pause, and errors that reach the tasks."""

import pickle
import time
from collections import Counter
from collections.abc import Iterator
from typing import ClassVar

import pytest
from distributed import Client, LocalCluster, Worker, get_worker

from foal import __version__
from foal.shared.errors import UsageError
from foal.shared.parallel.plugin import NamedPlugin, plugin_of, run_pickled, unique_name

pytestmark = pytest.mark.slow


class Counting(NamedPlugin):
    """Remembers how many tasks ran at once."""

    max_wait = 0.1

    def prepare(self, worker: Worker) -> None:
        self.inside = 0

    def run(self, task: float) -> str:
        with self.exclusive():
            self.inside += 1
            time.sleep(task)
            assert self.inside == 1
            self.inside -= 1
        return str(get_worker().address)


class Overlapping(NamedPlugin):
    """Reports whether a task of any plugin ran at the same time."""

    running: ClassVar[int] = 0

    def run(self, task: float) -> bool:
        with self.exclusive():
            Overlapping.running += 1
            time.sleep(task)
            overlapped = Overlapping.running > 1
            Overlapping.running -= 1
        return overlapped


class Broken(NamedPlugin):
    """Cannot be prepared."""

    def prepare(self, worker: Worker) -> None:
        raise UsageError("no such library")


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=1,
        threads_per_worker=4,
        processes=False,
        memory_limit="50MB",  # less than this process has: the worker pauses
        dashboard_address="127.0.0.1:0",
        protocol="inproc://",
    ) as cluster:
        yield cluster


def status(dask_worker: Worker) -> str:
    return dask_worker.status.name


def wait_for_status(client: Client, wanted: str) -> None:
    deadline = time.monotonic() + 10
    while set(client.run(status).values()) != {wanted}:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_waiting_tasks_of_a_worker_move_to_one_that_starts_later(cluster: LocalCluster) -> None:
    with Client(cluster) as client:
        plugin = Counting("test")
        client.register_plugin(plugin)
        futures = [client.submit(run_pickled, pickle.dumps(0.3), plugin.name, pure=False) for _ in range(8)]
        time.sleep(0.2)
        cluster.scale(2)
        ran = Counter(client.gather(futures))
        assert sum(ran.values()) == 8
        assert len(ran) == 2
        assert min(ran.values()) >= 2


def test_tasks_of_two_runs_on_one_worker_run_one_after_the_other(cluster: LocalCluster) -> None:
    with Client(cluster) as client:
        plugins = [Overlapping("test"), Overlapping("test")]
        for plugin in plugins:
            client.register_plugin(plugin)
        futures = [
            client.submit(run_pickled, pickle.dumps(0.05), plugin.name, pure=False)
            for plugin in plugins
            for _ in range(4)
        ]
        assert client.gather(futures) == [False] * 8


def test_a_paused_worker_runs_while_the_plugin_is_registered(cluster: LocalCluster) -> None:
    with Client(cluster) as client:
        wait_for_status(client, "paused")
        first, second = NamedPlugin("first"), NamedPlugin("second")
        client.register_plugin(first)
        client.register_plugin(second)
        wait_for_status(client, "running")
        client.unregister_worker_plugin(first.name)
        time.sleep(0.5)
        wait_for_status(client, "running")
        client.unregister_worker_plugin(second.name)
        wait_for_status(client, "paused")


@pytest.mark.parametrize("version", [__version__, "0.0.1"])
def test_workers_that_start_later_raise_the_error_of_their_preparation(cluster: LocalCluster, version: str) -> None:
    with Client(cluster) as client:
        cluster.scale(0)
        while client.scheduler_info(n_workers=-1)["workers"]:
            time.sleep(0.02)
        plugin = Broken("test") if version == __version__ else NamedPlugin("test")
        plugin.version = version
        client.register_plugin(plugin)
        future = client.submit(plugin_of, plugin.name)
        cluster.scale(1)
        with pytest.raises(UsageError) as caught:
            future.result()
    expected = "no such library" if version == __version__ else "expected workers with foal 0.0.1, the version of the"
    assert expected in str(caught.value)


def test_names_are_unique() -> None:
    assert unique_name("a").startswith("a-")
    assert unique_name("a") != unique_name("a")
