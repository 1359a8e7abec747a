"""A scheduler and workers as processes of their own, started by the commands of Dask as a user does."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

DASK = (sys.executable, "-m", "dask")


class DaskProcesses:
    """Starts `dask scheduler` and `dask worker`, and kills them at the end of a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "scheduler.json"
        self._processes: list[subprocess.Popen[bytes]] = []

    def scheduler(self, *options: str, environment: Mapping[str, str] | None = None) -> str:
        """Start the scheduler; return its address."""
        base = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(self._file)]
        self.start("scheduler", *base, *options, environment=environment)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(OSError, ValueError):
                return str(json.loads(self._file.read_text())["address"])
            time.sleep(0.05)
        raise TimeoutError("the scheduler does not start")

    def worker(
        self, *options: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a worker with one thread and without a nanny, unless the options say otherwise."""
        base = ["--scheduler-file", str(self._file), "--local-directory", str(self.folder), "--no-dashboard"]
        given = " ".join(options)
        base += ["--nthreads", "1"] * ("--nthreads" not in given) + ["--no-nanny"] * ("nanny" not in given)
        return self.start("worker", *base, *options, cwd=cwd, environment=environment)

    def start(
        self, *command: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command of Dask in a session of its own."""
        options: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(
            [*DASK, *command],
            cwd=cwd or self.folder,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
            **options,
        )
        self._processes.append(process)
        return process

    def stop(self) -> None:
        """Kill all processes, and those that they started."""
        for process in reversed(self._processes):
            with suppress(psutil.NoSuchProcess):
                for member in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
                    with suppress(psutil.NoSuchProcess):
                        member.kill()
            process.wait()
