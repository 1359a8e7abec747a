"""SIGKILL of one of four parts that extract side by side: its rerun completes the features, and the others go on."""

import random
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

PARTS = 4


def test_killed_parts_are_resumed_beside_the_others(
    start: Callable[..., Any],
    trial: Any,
    tmp_path: Path,
    synthetic_corpus: Path,
    foal_in: Callable[..., Any],
    read_features: Callable[..., Any],
    finished_shards: Callable[..., Any],
) -> None:
    assert foal_in(tmp_path, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    options = ["-m", "m.csv", "-r", synthetic_corpus, "--streams", "audio"]
    command = ["extract", "-s", "all", *options, "--chunk-seconds", "1", "-j", "1", "--threads", "1"]
    began = time.monotonic()
    assert start(tmp_path, *command).finish() == 0
    seconds = time.monotonic() - began
    expected = read_features(tmp_path / "features")
    rng = random.Random(5)
    for number in range(1, PARTS + 1):
        shutil.rmtree(tmp_path / "features")
        (tmp_path / "feats.h5").unlink()
        with trial(
            "kill -9 of one of four parts (`--part I/4`) side by side",
            "the others go on; its rerun and `foal index` give the features of one run",
        ):
            runs = [start(tmp_path, *command, "--part", f"{part}/{PARTS}") for part in range(1, PARTS + 1)]
            killed = runs[number - 1]
            with suppress(subprocess.TimeoutExpired):
                killed.process.wait(timeout=rng.uniform(0, 2 * seconds))
            killed.kill()
            assert [run.finish() for run in runs if run is not killed] == [0] * (PARTS - 1)
            before = finished_shards(tmp_path / "features")
            rerun = start(tmp_path, *command, "--part", f"{number}/{PARTS}")
            assert rerun.finish() == 0, rerun.err
            assert before.items() <= finished_shards(tmp_path / "features").items()
            done = foal_in(tmp_path, "index", *options)
            assert done.returncode == 0, done.stderr
            assert read_features(tmp_path / "features") == expected
            assert not list((tmp_path / "features").rglob(".*"))
            assert foal_in(tmp_path, "verify", "features").returncode == 0
