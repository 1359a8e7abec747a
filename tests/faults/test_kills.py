"""kill -9 at any moment: the next run goes on, does nothing twice, and leaves what an undisturbed run leaves."""

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

MAIN_KILLS, WORKER_KILLS, SCHEDULER_KILLS = 25, 15, 10

Start = Callable[..., Any]


@pytest.fixture(scope="module")
def corpus(
    foal_in: Callable[..., Any],
    start: Start,
    synthetic_corpus: Path,
    tmp_path_factory: pytest.TempPathFactory,
    features_of: Callable[..., Any],
) -> tuple[Path, list[str], dict[Any, Any], float]:
    """A folder with the manifest, the options of a run, the values that an undisturbed one leaves, and its seconds."""
    folder = tmp_path_factory.mktemp("kills")
    assert foal_in(folder, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    options = ["extract", "-s", "all", "-m", str(folder / "m.csv"), "-r", str(synthetic_corpus), "--chunk-seconds", "1"]
    began = time.monotonic()
    run = start(folder, *options, "-j", "2")
    assert run.finish() == 0, run.err
    seconds = time.monotonic() - began
    return folder, options, features_of(folder / "features"), seconds


def in_order(
    folder: Path, wanted: dict[Any, Any], features_of: Callable[..., Any], foal_in: Callable[..., Any]
) -> None:
    assert features_of(folder / "features") == wanted
    assert not [path for path in folder.rglob(".*") if path.name != ".gitignore"]
    assert foal_in(folder, "verify", "features").returncode == 0


def test_main(
    corpus: Any, start: Start, trial: Any, tmp_path: Path, features_of: Any, finished_shards: Any, foal_in: Any
) -> None:
    _, options, wanted, seconds = corpus
    chance = random.Random(1)
    kills = 0
    while kills < MAIN_KILLS:
        folder = tmp_path / str(kills)
        folder.mkdir()
        with trial("kill -9 of the main process", "the next run goes on where it was", count=0) as more:
            before: dict[Path, Any] = {}
            while kills < MAIN_KILLS:
                run = start(folder, *options, "-j", "2")
                with suppress(subprocess.TimeoutExpired):
                    run.process.wait(timeout=chance.uniform(0, seconds))
                if run.process.poll() is not None:
                    break
                run.kill()
                kills += 1
                more(1)
                # What was finished before this run is still there, untouched.
                after = finished_shards(folder / "features")
                assert before.items() <= after.items()
                before = after
            else:
                run = start(folder, *options, "-j", "2")
            assert run.finish() == 0, run.err
            assert before.items() <= finished_shards(folder / "features").items()
            in_order(folder, wanted, features_of, foal_in)
        shutil.rmtree(folder)


def test_workers(
    corpus: Any, start: Start, trial: Any, tmp_path: Path, features_of: Any, finished_shards: Any, foal_in: Any
) -> None:
    _, options, wanted, seconds = corpus
    chance = random.Random(2)
    kills = 0
    while kills < WORKER_KILLS:
        folder = tmp_path / str(kills)
        folder.mkdir()
        with trial("kill -9 of a worker", "another one takes its place, the run ends well", count=0) as more:
            run = start(folder, *options, "-j", "2")
            before: dict[Path, Any] = {}
            for _ in range(3):
                run.wait_for(lambda: len(run.workers()) >= 2)  # noqa: B023
                with suppress(subprocess.TimeoutExpired):
                    run.process.wait(timeout=chance.uniform(0, seconds / 2))
                workers = sorted(run.workers(), key=lambda process: process.pid)
                if run.process.poll() is not None or not workers:
                    break
                with suppress(psutil.NoSuchProcess):
                    chance.choice(workers).kill()
                    kills += 1
                    more(1)
                after = finished_shards(folder / "features")
                assert before.items() <= after.items()
                before = after
            assert run.finish() == 0, run.err
            assert before.items() <= finished_shards(folder / "features").items()
            in_order(folder, wanted, features_of, foal_in)
        shutil.rmtree(folder)


@contextmanager
def remote(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A scheduler and a worker as somebody else would start them; the scheduler's process and its file."""
    file = folder / "scheduler.json"
    file.unlink(missing_ok=True)
    dask = [sys.executable, "-m", "dask"]
    usual: dict[str, Any] = {
        "cwd": folder,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "start_new_session": True,
    }
    where = ["--scheduler-file", str(file), "--no-dashboard"]
    scheduler = subprocess.Popen([*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", *where], **usual)
    worker = subprocess.Popen(
        [*dask, "worker", "--nthreads", "1", "--local-directory", str(folder / "scratch"), *where], **usual
    )
    try:
        yield scheduler, file
    finally:
        for process in (worker, scheduler):
            with suppress(psutil.NoSuchProcess):
                tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
                for one in tree:
                    with suppress(psutil.NoSuchProcess):
                        one.kill()
            process.wait()


def test_scheduler(
    corpus: Any, start: Start, trial: Any, tmp_path: Path, features_of: Any, finished_shards: Any, foal_in: Any
) -> None:
    _, options, wanted, seconds = corpus
    chance = random.Random(3)
    kills = 0
    while kills < SCHEDULER_KILLS:
        folder = tmp_path / str(kills)
        folder.mkdir()
        with trial("kill -9 of the scheduler", "the run ends with a word, the next one goes on", count=0) as more:
            before: dict[Path, Any] = {}
            done = False
            while not done:
                with remote(tmp_path) as (scheduler, file):
                    deadline = time.monotonic() + 60
                    while not file.exists():
                        assert time.monotonic() < deadline
                        time.sleep(0.05)
                    address = json.loads(file.read_text())["address"]
                    wait_for_worker(address)
                    run = start(folder, *options, "--scheduler", address)
                    if kills < SCHEDULER_KILLS:
                        with suppress(subprocess.TimeoutExpired):
                            run.process.wait(timeout=chance.uniform(2, seconds))
                    if kills < SCHEDULER_KILLS and run.process.poll() is None:
                        scheduler.kill()
                        kills += 1
                        more(1)
                        assert run.finish(timeout=120) in (0, 1, 2)
                        if run.process.returncode:
                            assert "scheduler" in run.err
                        done = run.process.returncode == 0
                    else:
                        assert run.finish() == 0, run.err
                        done = True
                after = finished_shards(folder / "features")
                assert before.items() <= after.items()
                before = after
            in_order(folder, wanted, features_of, foal_in)
        shutil.rmtree(folder)


def wait_for_worker(address: str) -> None:
    from distributed import Client

    with Client(address, timeout=30) as client:
        client.wait_for_workers(1, timeout=60)
