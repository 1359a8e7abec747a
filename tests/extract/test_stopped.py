"""Stopped from outside, an extraction ends with everything that it started, and goes on later."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow

Foal = Callable[..., "subprocess.CompletedProcess[str]"]


def alive_in_group(group: int) -> list[str]:
    """What still runs of a process group; a zombie only waits to be noticed."""
    found = []
    for process in psutil.process_iter(["pid", "status", "cmdline"]):
        with suppress(ProcessLookupError):
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.info["cmdline"] or []))
    return found


def shards(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.glob("features/*/*/[!.]*.h5")}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_stopped_it_ends_its_workers_and_goes_on_later(
    foal_here: Foal, synthetic_corpus: Path, tmp_path: Path, number: signal.Signals, code: int, scheduler: str
) -> None:
    assert foal_here("manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    options = ["-s", "session1,session2", "-m", "m.csv", "-r", str(synthetic_corpus), "--chunk-seconds", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from foal.shared.cli import main; main()", "extract", *options, "-j", "2"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not shards(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    # As a terminal does: to every process of the group, not only to the first.
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in stderr
    assert "the same command goes on from there" in stderr
    deadline = time.monotonic() + 10
    while (left := alive_in_group(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left
    finished = shards(tmp_path)
    assert len(finished) > 0
    assert foal_here("extract", *options, "--scheduler", scheduler).returncode == 0
    assert shards(tmp_path).items() > finished.items()
    assert not list(tmp_path.rglob(".tmp-*"))
