"""A single PyTorch thread, since small networks gain nothing from more, a shared Dask worker, and captured messages."""

import logging
import os
from collections.abc import Iterator
from unittest.mock import patch

import pytest
import torch
from distributed import LocalCluster


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def scheduler() -> Iterator[str]:
    """The address of a Dask scheduler with one worker, for `--scheduler`. The worker imports its modules only once."""
    # Dask sets variables for its workers in the environment of this process.
    with patch.dict(os.environ):
        # Two threads, as a user's worker may have. An encoder still runs one task at a time.
        cluster = LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0")
    with cluster:
        yield cluster.scheduler_address


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """The log messages of foal, even after a command has configured its logger."""
    monkeypatch.setattr(logging.getLogger("foal"), "propagate", True)
    caplog.set_level(logging.INFO, logger="foal")
    return caplog
