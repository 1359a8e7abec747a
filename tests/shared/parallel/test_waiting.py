"""Which workers count, for what a run waits, and when it stops to wait."""

import logging
import time
from collections.abc import Iterator

import pytest
from distributed import Client, LocalCluster, Worker
from distributed.core import Status

from foal.shared.errors import FoalError
from foal.shared.parallel import waiting
from foal.shared.parallel.waiting import MIN_WINDOW, WorkerWatch

pytestmark = pytest.mark.slow


def set_status(status: Status, dask_worker: Worker) -> None:
    dask_worker.status = status


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """The client of a cluster with two workers of two threads and 1 GB each, which never pause by themselves."""
    monkeypatch.setattr(waiting, "CHECK_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "WAITING_CHECK_SECONDS", 0.0)
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=2,
            processes=False,
            memory_limit="1e9",
            dashboard_address="127.0.0.1:0",
            protocol="inproc://",
        ) as cluster,
        Client(cluster) as client,
    ):
        client.run(keep_status)
        yield client


def keep_status(dask_worker: Worker) -> None:
    dask_worker.periodic_callbacks["memory_monitor"].stop()


def poll_until(watch: WorkerWatch, running: int) -> None:
    """The status of a worker reaches the scheduler a moment later."""
    deadline = time.monotonic() + 10
    while watch.running != running:
        assert time.monotonic() < deadline
        time.sleep(0.01)
        watch.poll()


def test_paused_workers_count_as_none_and_the_message_says_what_they_need(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("foal"), "propagate", True)
    caplog.set_level(logging.INFO, logger="foal")
    watch = WorkerWatch(client, max_wait=None, memory=2_100_000_000)
    watch.poll()
    assert (watch.running, watch.threads, watch.window) == (2, 4, MIN_WINDOW)
    assert "2 of 2 workers may use 1.0 GB of memory, but the encoders need about 2.1 GB" in caplog.text
    client.run(set_status, Status.paused, workers=list(watch.addresses())[:1])
    poll_until(watch, 1)
    assert "waiting for" not in caplog.text
    client.run(set_status, Status.paused)
    poll_until(watch, 0)
    (message,) = (record.getMessage() for record in caplog.records if record.getMessage().startswith("waiting for"))
    assert "workers: 0 running, 2 paused at " in message
    assert message.endswith("% memory; give them at least 2.1 GB (dask worker --memory-limit)")
    watch.poll()
    assert caplog.text.count("waiting for workers") == 1  # not repeated at every look
    client.run(set_status, Status.running)
    poll_until(watch, 2)
    assert "2 workers running" in caplog.text
    assert caplog.text.count("may use 1.0 GB") == 1


def test_the_wait_ends_after_its_time_but_not_while_the_run_is_suspended(client: Client) -> None:
    watch = WorkerWatch(client, max_wait=0.2)
    watch.poll()
    client.run(set_status, Status.paused)
    poll_until(watch, 0)
    time.sleep(0.3)
    watch.shift(60.0)
    watch.poll()
    watch.shift(-60.0)
    with pytest.raises(FoalError, match=r"waited .* for workers: 0 running, 2 paused .* Finished work is kept"):
        watch.poll()


def test_the_window_grows_with_the_threads(client: Client) -> None:
    watch = WorkerWatch(client, max_wait=None)
    watch.threads = 1000
    assert watch.window == 4000
