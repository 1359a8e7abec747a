"""SIGKILL at random times: a rerun resumes, recomputes no finished shard, and gives the same features."""

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

MAIN_KILLS, WORKER_KILLS, SCHEDULER_KILLS, FORK_SERVER_KILLS = 25, 15, 10, 3

Start = Callable[..., Any]


@pytest.fixture(scope="module")
def corpus(
    foal_in: Callable[..., Any],
    start: Start,
    synthetic_corpus: Path,
    tmp_path_factory: pytest.TempPathFactory,
    read_features: Callable[..., Any],
) -> tuple[Path, list[str], dict[Any, Any], float]:
    """A folder with a manifest; options, features and duration in seconds of an undisturbed extraction."""
    folder = tmp_path_factory.mktemp("kills")
    assert foal_in(folder, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    options = ["extract", "-s", "all", "-m", str(folder / "m.csv"), "-r", str(synthetic_corpus), "--chunk-seconds", "1"]
    started = time.monotonic()
    run = start(folder, *options, "-j", "2")
    assert run.finish() == 0, run.err
    seconds = time.monotonic() - started
    return folder, options, read_features(folder / "features"), seconds


def check_features(
    folder: Path, expected: dict[Any, Any], read_features: Callable[..., Any], foal_in: Callable[..., Any]
) -> None:
    assert read_features(folder / "features") == expected
    assert not [path for path in folder.rglob(".*") if path.name != ".gitignore"]
    assert foal_in(folder, "verify", "features").returncode == 0


def test_killed_runs_are_resumed(
    corpus: Any, start: Start, trial: Any, tmp_path: Path, read_features: Any, finished_shards: Any, foal_in: Any
) -> None:
    _, options, expected, seconds = corpus
    rng = random.Random(1)
    kills = 0
    while kills < MAIN_KILLS:
        folder = tmp_path / str(kills)
        folder.mkdir()
        with trial("kill -9 of the main process", "rerunning the same command resumes the extraction", count=0) as add:
            before: dict[Path, Any] = {}
            while kills < MAIN_KILLS:
                run = start(folder, *options, "-j", "2")
                with suppress(subprocess.TimeoutExpired):
                    run.process.wait(timeout=rng.uniform(0, seconds))
                if run.process.poll() is not None:
                    break
                run.kill()
                kills += 1
                add(1)
                # All shards that were finished before this run are unchanged.
                after = finished_shards(folder / "features")
                assert before.items() <= after.items()
                before = after
            else:
                run = start(folder, *options, "-j", "2")
            assert run.finish() == 0, run.err
            assert before.items() <= finished_shards(folder / "features").items()
            check_features(folder, expected, read_features, foal_in)
        shutil.rmtree(folder)


def test_killed_workers_are_replaced(
    corpus: Any, start: Start, trial: Any, tmp_path: Path, read_features: Any, finished_shards: Any, foal_in: Any
) -> None:
    _, options, expected, seconds = corpus
    rng = random.Random(2)
    kills = 0
    while kills < WORKER_KILLS:
        folder = tmp_path / str(kills)
        folder.mkdir()
        with trial("kill -9 of a worker", "it is replaced; the run completes", count=0) as add:
            run = start(folder, *options, "-j", "2")
            before: dict[Path, Any] = {}
            for _ in range(3):
                run.wait_for(lambda: len(run.workers()) >= 2)  # noqa: B023
                with suppress(subprocess.TimeoutExpired):
                    run.process.wait(timeout=rng.uniform(0, seconds / 2))
                workers = sorted(run.workers(), key=lambda process: process.pid)
                if run.process.poll() is not None or not workers:
                    break
                with suppress(psutil.NoSuchProcess):
                    rng.choice(workers).kill()
                    kills += 1
                    add(1)
                after = finished_shards(folder / "features")
                assert before.items() <= after.items()
                before = after
            assert run.finish() == 0, run.err
            assert before.items() <= finished_shards(folder / "features").items()
            check_features(folder, expected, read_features, foal_in)
        shutil.rmtree(folder)


def test_a_killed_fork_server_is_replaced(
    corpus: Any, start: Start, trial: Any, tmp_path: Path, read_features: Any, foal_in: Any
) -> None:
    _, options, expected, seconds = corpus
    rng = random.Random(4)
    kills = 0
    while kills < FORK_SERVER_KILLS:
        folder = tmp_path / str(kills)
        folder.mkdir()
        with trial("kill -9 of the process that forks the workers", "the run completes"):
            run = start(folder, *options, "-j", "2")
            run.wait_for(run.fork_servers)
            with suppress(subprocess.TimeoutExpired):
                run.process.wait(timeout=rng.uniform(0, seconds))
            for server in run.fork_servers():
                server.kill()
                kills += 1
            assert run.finish() == 0, run.err
            check_features(folder, expected, read_features, foal_in)
        shutil.rmtree(folder)


@contextmanager
def remote_cluster(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Start a separate scheduler and worker; yield the scheduler process and the scheduler file."""
    file = folder / "scheduler.json"
    file.unlink(missing_ok=True)
    dask = [sys.executable, "-m", "dask"]
    popen_options: dict[str, Any] = {
        "cwd": folder,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "start_new_session": True,
    }
    scheduler_options = ["--scheduler-file", str(file), "--no-dashboard"]
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", *scheduler_options], **popen_options
    )
    worker = subprocess.Popen(
        [*dask, "worker", "--nthreads", "1", "--local-directory", str(folder / "scratch"), *scheduler_options],
        **popen_options,
    )
    try:
        yield scheduler, file
    finally:
        for process in (worker, scheduler):
            with suppress(psutil.NoSuchProcess):
                tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
                for member in tree:
                    with suppress(psutil.NoSuchProcess):
                        member.kill()
            process.wait()


def test_run_with_killed_scheduler_is_resumed(
    corpus: Any, start: Start, trial: Any, tmp_path: Path, read_features: Any, finished_shards: Any, foal_in: Any
) -> None:
    _, options, expected, seconds = corpus
    rng = random.Random(3)
    kills = 0
    while kills < SCHEDULER_KILLS:
        folder = tmp_path / str(kills)
        folder.mkdir()
        with trial(
            "kill -9 of the scheduler",
            "the run ends with one message; rerunning the same command completes it",
            count=0,
        ) as add:
            before: dict[Path, Any] = {}
            complete = False
            while not complete:
                with remote_cluster(tmp_path) as (scheduler, file):
                    deadline = time.monotonic() + 60
                    while not file.exists():
                        assert time.monotonic() < deadline
                        time.sleep(0.05)
                    address = json.loads(file.read_text())["address"]
                    wait_for_worker(address)
                    run = start(folder, *options, "--scheduler", address)
                    if kills < SCHEDULER_KILLS:
                        with suppress(subprocess.TimeoutExpired):
                            run.process.wait(timeout=rng.uniform(2, seconds))
                    if kills < SCHEDULER_KILLS and run.process.poll() is None:
                        scheduler.kill()
                        kills += 1
                        add(1)
                        assert run.finish(timeout=120) in (0, 1, 2)
                        if run.process.returncode:
                            assert "scheduler" in run.err
                        complete = run.process.returncode == 0
                    else:
                        assert run.finish() == 0, run.err
                        complete = True
                after = finished_shards(folder / "features")
                assert before.items() <= after.items()
                before = after
            check_features(folder, expected, read_features, foal_in)
        shutil.rmtree(folder)


def wait_for_worker(address: str) -> None:
    from distributed import Client

    with Client(address, timeout=30) as client:
        client.wait_for_workers(1, timeout=60)
