"""Schedulers and workers in processes of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from foal.tests.shared.parallel.dask_processes import DaskProcesses


@pytest.fixture
def dask_processes(tmp_path: Path) -> Iterator[DaskProcesses]:
    processes = DaskProcesses(tmp_path)
    yield processes
    processes.stop()
