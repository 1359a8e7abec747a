"""Signals to a run: SIGTERM ends it and its workers; a run under nohup survives the end of its terminal."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

Start = Callable[..., Any]
STOPPED = "foal: stopped; finished work is kept, rerun the same command to resume\n"


@pytest.fixture
def options(foal_in: Callable[..., Any], synthetic_corpus: Path, tmp_path: Path) -> list[str]:
    """Options of an extraction of eight utterances in as many shards by one worker."""
    assert foal_in(tmp_path, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    selection = ["-s", "session1,session2", "-m", "m.csv", "-r", str(synthetic_corpus), "--streams", "audio"]
    return ["extract", *selection, "--chunk-seconds", "1", "-j", "1"]


@pytest.mark.sample
def test_sigterm_ends_a_run_and_its_workers(
    start: Start, trial: Any, options: list[str], tmp_path: Path, finished_shards: Any
) -> None:
    with trial("SIGTERM to the main process", "it ends with its workers in one sentence; finished shards are kept"):
        run = start(tmp_path, *options)
        run.wait_for(lambda: finished_shards(tmp_path / "features"))
        before, processes = finished_shards(tmp_path / "features"), run.descendants()
        run.process.send_signal(signal.SIGTERM)
        assert run.finish(timeout=60) == 143
        assert run.err == STOPPED
        assert processes
        _, alive = psutil.wait_procs(processes, timeout=10)
        assert not alive
        assert before.items() <= finished_shards(tmp_path / "features").items()
        assert not list(tmp_path.rglob(".tmp-*"))


@pytest.mark.sample
def test_a_run_under_nohup_survives_the_end_of_its_terminal(
    start: Start, trial: Any, options: list[str], tmp_path: Path, finished_shards: Any
) -> None:
    with trial("SIGHUP and SIGINT to a run under nohup, and to its workers", "it completes"):
        run = start(tmp_path, *options, ignored=(signal.SIGHUP, signal.SIGINT))
        run.wait_for(lambda: finished_shards(tmp_path / "features"))
        assert run.process.poll() is None
        os.killpg(run.process.pid, signal.SIGHUP)
        os.killpg(run.process.pid, signal.SIGINT)
        assert run.finish(timeout=120) == 0
        assert run.err == ""
