"""Ctrl-C ends an extraction and all its processes; the run can be resumed. Other signals: tests/faults."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow

Foal = Callable[..., "subprocess.CompletedProcess[str]"]


def alive_in_group(group: int) -> list[str]:
    """The command lines of a process group's running processes, without zombies."""
    commands = []
    for process in psutil.process_iter(["pid", "status", "cmdline"]):
        with suppress(ProcessLookupError):
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                commands.append(" ".join(process.info["cmdline"] or []))
    return commands


def shards(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.glob("features/*/*/[!.]*.h5")}


# The parent process may ignore the signal.
COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
from foal.shared.cli.main import main
main()
"""


@pytest.fixture
def started(
    foal_here: Foal, synthetic_corpus: Path, tmp_path: Path
) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start an extraction as a process group leader, and wait for its first shard."""
    assert foal_here("manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    processes = []

    def start(*options: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "extract", *options],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        deadline = time.monotonic() + 120
        while not shards(tmp_path) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        return process

    yield start
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def options(synthetic_corpus: Path) -> list[str]:
    return [
        "-s",
        "session1,session2",
        "-m",
        "m.csv",
        "-r",
        str(synthetic_corpus),
        "--chunk-seconds",
        "1",
        "--streams",
        "audio",
    ]


def test_an_interrupted_run_ends_its_workers_and_can_be_resumed(
    foal_here: Foal,
    started: Callable[..., "subprocess.Popen[str]"],
    options: list[str],
    tmp_path: Path,
    scheduler: str,
) -> None:
    process = started(*options, "-j", "2")
    # A terminal sends the signal to every process of the group, each time that Ctrl-C is pressed.
    for _ in range(6):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.25)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == "foal: stopped; finished work is kept, rerun the same command to resume\n"
    deadline = time.monotonic() + 10
    while (remaining := alive_in_group(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not remaining
    finished = shards(tmp_path)
    assert len(finished) > 0
    assert foal_here("extract", *options, "--scheduler", scheduler).returncode == 0
    assert shards(tmp_path).items() > finished.items()
    assert not list(tmp_path.rglob(".tmp-*"))
