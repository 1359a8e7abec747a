"""Two runs at once, a run whose workers keep dying, and half an hour of steady memory."""

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

MANY = 5000
KILL_EVERY = (3.0, 6.0)
"""Seconds between two kills, and from the shard that was finished since the one before."""

SOAK_SECONDS = float(os.environ.get("FOAL_SOAK_SECONDS", "1800"))
GROWTH = 1.05


@pytest.mark.sample
def test_two_runs_at_once(
    start: Start, trial: Any, tmp_path: Path, synthetic_corpus: Path, foal_in: Any, finished_shards: Any
) -> None:
    assert foal_in(tmp_path, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    usual = ["extract", "-s", "all", "-m", "m.csv", "-r", synthetic_corpus, "--chunk-seconds", "1", "-j", "2"]
    first = start(tmp_path, *usual)
    first.wait_for(lambda: finished_shards(tmp_path / "features"))
    with trial("a second run on one features folder", "it says who holds the folder and since when, and ends"):
        second = start(tmp_path, *usual)
        assert second.finish() == 1
        assert f"in use by process {first.process.pid} on" in second.err
        assert "since 20" in second.err
    with trial("a second run that is to break the lock of a living one", "it does not"):
        third = start(tmp_path, *usual, "--break-lock")
        assert third.finish() == 1
        assert f"in use by process {first.process.pid} on" in third.err
    with trial("a run whose folder is asked for by others", "it ends as if it were alone"):
        assert first.finish() == 0, first.err
        assert foal_in(tmp_path, "verify", "features").returncode == 0
        assert not list(tmp_path.rglob(".*"))


def test_runs_that_begin_at_the_same_moment(
    start: Start, trial: Any, tmp_path: Path, synthetic_corpus: Path, foal_in: Any, features_of: Any
) -> None:
    assert foal_in(tmp_path, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    usual = ["extract", "-s", "session1", "-m", "m.csv", "-r", synthetic_corpus, "--streams", "audio", "-j", "1"]
    for _ in range(3):
        with trial("runs that begin at the same moment", "one works, the others say so", count=3):
            runs = [start(tmp_path, *usual) for _ in range(3)]
            codes = [run.finish() for run in runs]
            assert 0 in codes
            assert all(code == 0 or "in use by process" in run.err for code, run in zip(codes, runs, strict=True))
            assert len(features_of(tmp_path / "features")) == 4
            assert not list(tmp_path.rglob(".*"))
        shutil.rmtree(tmp_path / "features")


def test_two_runs_on_one_scheduler(
    start: Start, trial: Any, tmp_path: Path, synthetic_corpus: Path, foal_in: Any, features_of: Any
) -> None:
    assert foal_in(tmp_path, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    usual = ["extract", "-s", "all", "-m", "m.csv", "-r", synthetic_corpus, "--streams", "audio"]
    with (
        trial("two runs with different settings on one scheduler", "each as if it were alone", count=2),
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
    ):
        seeds = (1, 2)
        options = [[*usual, "--set", f"extract.seed={seed}", "--features-dir", f"of{seed}"] for seed in seeds]
        runs = [start(tmp_path, *those, "--scheduler", cluster.scheduler_address) for those in options]
        assert [run.finish() for run in runs] == [0, 0]
        together = [features_of(tmp_path / f"of{seed}") for seed in seeds]
        assert together[0].keys() != together[1].keys()
        for seed, those in zip(seeds, options, strict=True):
            shutil.rmtree(tmp_path / f"of{seed}")
            assert start(tmp_path, *those, "--scheduler", cluster.scheduler_address).finish() == 0
        assert together == [features_of(tmp_path / f"of{seed}") for seed in seeds]


def test_many_utterances_and_dying_workers(
    start: Start, trial: Any, tmp_path: Path, features_of: Any, finished_shards: Any
) -> None:
    root = tmp_path / "media"
    root.mkdir()
    for number in range(50):
        soundfile.write(root / f"{number}.wav", np.sin(np.arange(1600 * 100) / (5 + number)) / 3, 16000)
    utterances = [
        Utterance(id=f"u{n}", corpus="c", audio=f"{n // 100}.wav", start=n % 100 / 10, end=(n % 100 + 1) / 10)
        for n in range(MANY)
    ]
    write_manifest(tmp_path / "m.csv", utterances)
    usual = ["extract", "-s", "all", "-m", "m.csv", "-r", "media", "--streams", "audio", "--chunk-seconds", "5"]
    chance = random.Random(4)
    with trial("kill -9 of a worker, every few seconds, of 5,000 utterances", "all are done", count=0) as more:
        run = start(tmp_path, *usual, "-j", "2")
        while run.process.poll() is None:
            # On a machine on which a worker takes longer than that to begin, the run would never come to anything.
            before = len(finished_shards(tmp_path / "features"))
            run.wait_for(lambda: len(finished_shards(tmp_path / "features")) > before)  # noqa: B023
            with suppress(subprocess.TimeoutExpired):
                run.process.wait(timeout=chance.uniform(*KILL_EVERY))
            if workers := run.workers():
                with suppress(psutil.NoSuchProcess):
                    chance.choice(workers).kill()
                    more(1)
        assert run.finish() == 0, run.err
        disturbed = features_of(tmp_path / "features")
        assert len(disturbed) == MANY
        shutil.rmtree(tmp_path / "features")
        alone = start(tmp_path, *usual, "-j", "2")
        assert alone.finish() == 0, alone.err
        assert features_of(tmp_path / "features") == disturbed


@pytest.mark.soak
def test_memory_stays_flat(start: Start, trial: Any, tmp_path: Path, synthetic_corpus: Path, foal_in: Any) -> None:
    assert foal_in(tmp_path, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    utterances = read_manifest(tmp_path / "m.csv")
    copies = max(2, round(SOAK_SECONDS))
    for copy in range(copies):
        for media in {path for u in utterances for path in (u.audio, u.video)}:
            place = tmp_path / "media" / str(copy) / media
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(synthetic_corpus / media, place)
    many = [
        replace(u, id=f"{copy}-{u.id}", audio=f"{copy}/{u.audio}", video=f"{copy}/{u.video}")
        for copy in range(copies)
        for u in utterances
    ]
    write_manifest(tmp_path / "many.csv", many)
    usual = ["extract", "-s", "all", "-m", "many.csv", "-r", "media", "--chunk-seconds", "20", "-j", "2"]
    with trial(f"{SOAK_SECONDS / 60:.0f} minutes without a pause", "memory stays flat"):
        run = start(tmp_path, *usual)
        began = time.monotonic()
        samples: list[tuple[float, float, float]] = []
        while time.monotonic() - began < SOAK_SECONDS:
            assert run.process.poll() is None, run.finish()
            time.sleep(2)
            with suppress(psutil.NoSuchProcess):
                workers = [process.memory_info().rss / 1e6 for process in run.workers()]
                main = psutil.Process(run.process.pid).memory_info().rss / 1e6
                if len(workers) == 2:
                    samples.append((time.monotonic() - began, main, max(workers)))
        run.process.send_signal(signal.SIGTERM)
        assert run.finish() == 143
        third = len(samples) // 3
        for name, column in (("main process", 1), ("workers", 2)):
            middle = statistics.median(sample[column] for sample in samples[third : 2 * third])
            last = statistics.median(sample[column] for sample in samples[2 * third :])
            done = len(list((tmp_path / "features").glob("*/*/*.h5")))
            print(f"{name}: {middle:.0f} MB, then {last:.0f} MB; {done} shards in {SOAK_SECONDS:.0f} s")
            assert last < GROWTH * middle, f"{name}: {middle:.0f} MB, then {last:.0f} MB"
