"""Concurrent runs, a run whose workers are killed repeatedly, and memory use over half an hour."""

import os
import random
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
from distributed import LocalCluster

from foal.shared.manifest import read_manifest, write_manifest
from foal.shared.utterance import Utterance

Start = Callable[..., Any]

UTTERANCES = 5000
KILL_INTERVAL = (3.0, 6.0)
"""Range of seconds from the first shard finished after a kill to the next kill."""

SOAK_SECONDS = float(os.environ.get("FOAL_SOAK_SECONDS", "1800"))
MAX_GROWTH = 1.05


@pytest.mark.sample
def test_second_run_on_a_locked_folder_is_refused(
    start: Start, trial: Any, tmp_path: Path, synthetic_corpus: Path, foal_in: Any, finished_shards: Any
) -> None:
    assert foal_in(tmp_path, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    command = ["extract", "-s", "all", "-m", "m.csv", "-r", synthetic_corpus, "--chunk-seconds", "1", "-j", "2"]
    first = start(tmp_path, *command)
    first.wait_for(lambda: finished_shards(tmp_path / "features"))
    with trial(
        "a second run on the same features folder",
        "it ends with a message that names the holder of the lock and the time",
    ):
        second = start(tmp_path, *command)
        assert second.finish() == 1
        assert f"in use by process {first.process.pid} on" in second.err
        assert "since 20" in second.err
    with trial(
        "a second run with --break-lock while the first one is alive", "it ends with the same message; the lock is kept"
    ):
        third = start(tmp_path, *command, "--break-lock")
        assert third.finish() == 1
        assert f"in use by process {first.process.pid} on" in third.err
    with trial("a run whose features folder is requested by other runs", "it completes as if it ran alone"):
        assert first.finish() == 0, first.err
        assert foal_in(tmp_path, "verify", "features").returncode == 0
        assert not list(tmp_path.rglob(".*"))


def test_simultaneous_runs_complete_or_are_refused(
    start: Start, trial: Any, tmp_path: Path, synthetic_corpus: Path, foal_in: Any, read_features: Any
) -> None:
    assert foal_in(tmp_path, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    command = ["extract", "-s", "session1", "-m", "m.csv", "-r", synthetic_corpus, "--streams", "audio", "-j", "1"]
    for _ in range(3):
        with trial(
            "runs that start at the same time", "each run completes or reports that the folder is in use", count=3
        ):
            runs = [start(tmp_path, *command) for _ in range(3)]
            codes = [run.finish() for run in runs]
            assert 0 in codes
            assert all(code == 0 or "in use by process" in run.err for code, run in zip(codes, runs, strict=True))
            assert len(read_features(tmp_path / "features")) == 4
            assert not list(tmp_path.rglob(".*"))
        shutil.rmtree(tmp_path / "features")


def test_concurrent_runs_on_one_scheduler_do_not_interfere(
    start: Start, trial: Any, tmp_path: Path, synthetic_corpus: Path, foal_in: Any, read_features: Any
) -> None:
    assert foal_in(tmp_path, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    command = ["extract", "-s", "all", "-m", "m.csv", "-r", synthetic_corpus, "--streams", "audio"]
    with (
        trial(
            "two runs with different settings on one scheduler", "values identical to those of separate runs", count=2
        ),
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
    ):
        seeds = (1, 2)
        commands = [[*command, "--set", f"extract.seed={seed}", "--features-dir", f"seed{seed}"] for seed in seeds]
        runs = [start(tmp_path, *run_command, "--scheduler", cluster.scheduler_address) for run_command in commands]
        assert [run.finish() for run in runs] == [0, 0]
        concurrent = [read_features(tmp_path / f"seed{seed}") for seed in seeds]
        assert concurrent[0].keys() != concurrent[1].keys()
        for seed, run_command in zip(seeds, commands, strict=True):
            shutil.rmtree(tmp_path / f"seed{seed}")
            assert start(tmp_path, *run_command, "--scheduler", cluster.scheduler_address).finish() == 0
        assert concurrent == [read_features(tmp_path / f"seed{seed}") for seed in seeds]


def test_repeatedly_killed_workers_do_not_change_the_features(
    start: Start, trial: Any, tmp_path: Path, read_features: Any, finished_shards: Any
) -> None:
    root = tmp_path / "media"
    root.mkdir()
    for number in range(50):
        soundfile.write(root / f"{number}.wav", np.sin(np.arange(1600 * 100) / (5 + number)) / 3, 16000)
    utterances = [
        Utterance(id=f"u{n}", corpus="c", audio=f"{n // 100}.wav", start=n % 100 / 10, end=(n % 100 + 1) / 10)
        for n in range(UTTERANCES)
    ]
    write_manifest(tmp_path / "m.csv", utterances)
    command = ["extract", "-s", "all", "-m", "m.csv", "-r", "media", "--streams", "audio", "--chunk-seconds", "5"]
    rng = random.Random(4)
    with trial(
        "kill -9 of a worker every few seconds while 5,000 utterances are extracted",
        "all utterances are extracted with byte-identical values",
        count=0,
    ) as add:
        run = start(tmp_path, *command, "-j", "2")
        while run.process.poll() is None:
            # Wait for progress first: workers that start slowly would otherwise be killed before they finish a shard.
            before = len(finished_shards(tmp_path / "features"))
            run.wait_for(lambda: len(finished_shards(tmp_path / "features")) > before)  # noqa: B023
            with suppress(subprocess.TimeoutExpired):
                run.process.wait(timeout=rng.uniform(*KILL_INTERVAL))
            if workers := run.workers():
                with suppress(psutil.NoSuchProcess):
                    rng.choice(workers).kill()
                    add(1)
        assert run.finish() == 0, run.err
        disturbed = read_features(tmp_path / "features")
        assert len(disturbed) == UTTERANCES
        shutil.rmtree(tmp_path / "features")
        undisturbed = start(tmp_path, *command, "-j", "2")
        assert undisturbed.finish() == 0, undisturbed.err
        assert read_features(tmp_path / "features") == disturbed


@pytest.mark.soak
def test_memory_use_stays_constant(
    start: Start, trial: Any, tmp_path: Path, synthetic_corpus: Path, foal_in: Any
) -> None:
    assert foal_in(tmp_path, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    utterances = read_manifest(tmp_path / "m.csv")
    copies = max(2, round(SOAK_SECONDS))
    for copy in range(copies):
        for media in {path for u in utterances for path in (u.audio, u.video)}:
            link = tmp_path / "media" / str(copy) / media
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(synthetic_corpus / media, link)
    copied = [
        replace(u, id=f"{copy}-{u.id}", audio=f"{copy}/{u.audio}", video=f"{copy}/{u.video}")
        for copy in range(copies)
        for u in utterances
    ]
    write_manifest(tmp_path / "many.csv", copied)
    command = ["extract", "-s", "all", "-m", "many.csv", "-r", "media", "--chunk-seconds", "20", "-j", "2"]
    with trial(f"{SOAK_SECONDS / 60:.0f} minutes of continuous extraction", "memory use stays constant"):
        run = start(tmp_path, *command)
        started = time.monotonic()
        samples: list[tuple[float, float, float]] = []
        while time.monotonic() - started < SOAK_SECONDS:
            assert run.process.poll() is None, run.finish()
            time.sleep(2)
            with suppress(psutil.NoSuchProcess):
                workers = [process.memory_info().rss / 1e6 for process in run.workers()]
                main = psutil.Process(run.process.pid).memory_info().rss / 1e6
                if len(workers) == 2:
                    samples.append((time.monotonic() - started, main, max(workers)))
        run.process.send_signal(signal.SIGTERM)
        assert run.finish() == 143
        third = len(samples) // 3
        for name, column in (("main process", 1), ("workers", 2)):
            middle = statistics.median(sample[column] for sample in samples[third : 2 * third])
            last = statistics.median(sample[column] for sample in samples[2 * third :])
            shards = len(list((tmp_path / "features").glob("*/*/*.h5")))
            print(f"{name}: {middle:.0f} MB, then {last:.0f} MB; {shards} shards in {SOAK_SECONDS:.0f} s")
            assert last < MAX_GROWTH * middle, f"{name}: {middle:.0f} MB, then {last:.0f} MB"
