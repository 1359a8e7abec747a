"""Parts of an extraction side by side: the same features as one run, and no part touches the files of others."""

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import soundfile
from distributed import LocalCluster

from foal.shared.files.lock import LOCK_NAME, features_lock
from foal.shared.files.part import Part, part_name
from foal.shared.manifest import write_manifest
from foal.shared.store.feature_store import FeatureStore
from foal.shared.utterance import Utterance

Foal = Callable[..., "subprocess.CompletedProcess[str]"]
Result = tuple["subprocess.CompletedProcess[str]", dict[str, object]]
PARTS = ("1/2", "2/2")
BROKEN = ("u1", "u4", "u5")
"""Two of them are in the first part."""

DEAD_PID = 2**22 + 1  # above the largest process ID of Linux


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Twelve files of one utterance each: nine tones and three text files."""
    root = tmp_path / "media"
    root.mkdir()
    for number in range(12):
        soundfile.write(root / f"{number}.wav", np.sin(np.arange(8000) / (5 + number)) / 3, 16000)
    for name in BROKEN:
        (root / f"{name[1:]}.wav").write_text("no sound\n" * 9)
    write_manifest(
        tmp_path / "m.csv",
        [Utterance(id=f"u{n}", corpus="c", label="hap", audio=f"{n}.wav", end=0.5) for n in range(12)],
    )
    return tmp_path


@pytest.fixture
def extract(foal_here: Foal, corpus: Path) -> Callable[..., Result]:
    """Run `foal extract` on the corpus; return the process and what --json printed."""

    def run(*options: str | Path) -> Result:
        selection = ["-s", "all", "-m", "m.csv", "-r", "media", "--streams", "audio", "--chunk-seconds", "1"]
        done = foal_here("extract", *selection, "--json", *options)
        assert "Traceback" not in done.stderr
        return done, json.loads(done.stdout.splitlines()[-1]) if done.returncode in (0, 3) else {}

    return run


def failed_ids(folder: Path) -> set[str]:
    with folder.open(newline="") as file:
        return {row["id"] for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--part", "5/4"], "--part: expected I/N with I from 1 to N, such as 2/4, got '5/4'"),
        (["--part", "1/4", "--index", "feats.h5"], "--part: a part writes no index; leave --index out"),
    ],
)
def test_invalid_parts_are_refused_in_one_sentence(
    extract: Callable[..., Result], corpus: Path, options: list[str], message: str
) -> None:
    done, _ = extract(*options)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (corpus / "features").exists()


def test_a_dry_run_counts_the_part_and_an_empty_part_is_no_error(extract: Callable[..., Result], corpus: Path) -> None:
    members = [number for number in range(12) if Part.parse("1/2").holds(f"{number}.wav")]
    result = extract("--dry-run", "--part", "1/2")[1]
    assert (result["part"], result["pending"], result["utterances"]) == ("1/2", len(members), len(members))
    write_manifest(corpus / "m.csv", [Utterance(id="u0", corpus="c", label="hap", audio="0.wav", end=0.5)])
    empty = [number for number in range(1, 5) if not Part(number=number, count=4).holds("0.wav")]
    assert len(empty) == 3
    done, result = extract("--part", f"{empty[0]}/4")
    assert (done.returncode, result["utterances"], result["index"]) == (0, 0, None)
    assert f"part {empty[0]}/4 holds 0 of 1 utterance\n" in done.stdout
    assert not (corpus / "features").exists()


@pytest.mark.parametrize(
    ("held", "command"),
    [
        ("", "extract --part 1/4"),
        ("1/4", "extract --part 1/4"),
        ("1/4", "extract --part 1/3"),
        ("1/4", "extract"),
        ("1/4", "index"),
        ("1/4", "clean --remove"),
        ("", "index"),
    ],
)
def test_commands_that_exclude_each_other_are_refused_in_one_sentence(
    foal_here: Foal, make_features: Callable[..., Path], tmp_path: Path, held: str, command: str
) -> None:
    utterances = [Utterance(id=f"u{n}", corpus="c", label="hap", audio=f"{n}.wav", end=0.5) for n in range(8)]
    write_manifest(tmp_path / "m.csv", utterances)
    features = make_features(tmp_path / "features", utterances, widths={"audio": 4})
    name, *options = command.split()
    selection = ["-s", "all", "--streams", "audio"] if name == "extract" else []
    if name == "index":
        selection = ["--config-hash", f"audio={'0' * 64}", "--streams", "audio"]
    with features_lock(features, part=Part.parse(held) if held else None):
        done = foal_here(name, *selection, *options, "-m", "m.csv", "-r", ".")
    assert done.returncode == 1
    assert f"features: in use by process {os.getpid()} on {socket.gethostname()} since " in done.stderr
    assert done.stderr.count("\n") == 1
    assert len(list(features.glob("*/*/*.h5"))) == 1
    assert not (tmp_path / "feats.h5").exists()


@pytest.mark.slow
def test_failures_of_parts_are_remembered_and_merged(
    foal_here: Foal, extract: Callable[..., Result], corpus: Path, scheduler: str
) -> None:
    folder = corpus / "features" / "c"
    results = [extract("--part", part, "--scheduler", scheduler)[1] for part in PARTS]
    assert [(result["failed"], result["extracted"], result["part"]) for result in results] == [
        (2, 4, "1/2"),
        (1, 5, "2/2"),
    ]
    lists = {path.name: failed_ids(path) for path in folder.glob("failures*.csv")}
    assert lists == {"failures.part-1-of-2.csv": {"u1", "u4"}, "failures.part-2-of-2.csv": {"u5"}}
    assert not list(corpus.rglob("feats.h5"))
    assert foal_here("verify", "features").returncode == 0
    for part, before in zip(PARTS, results, strict=True):
        done, again = extract("--part", part)
        assert (done.returncode, again["failed"], again["extracted"]) == (3, before["failed"], 0)
    done = foal_here("index", "-m", "m.csv", "-r", "media", "--streams", "audio")
    assert done.returncode == 0, done.stderr
    assert "failures.csv: lists what failed in the parts of the extraction" in done.stdout
    assert [path.name for path in folder.glob("failures*.csv")] == ["failures.csv"]
    assert failed_ids(folder / "failures.csv") == set(BROKEN)
    # A whole run knows them, and a part that mends one of them leaves the others listed.
    assert extract()[1]["failed"] == len(BROKEN)
    soundfile.write(corpus / "media" / "4.wav", np.zeros(8000), 16000)
    assert extract("--part", "1/2", "--scheduler", scheduler)[1]["extracted"] == 1
    assert failed_ids(folder / "failures.csv") == set(BROKEN)
    assert foal_here("index", "-m", "m.csv", "-r", "media", "--streams", "audio").returncode == 0
    assert failed_ids(folder / "failures.csv") == {"u1", "u5"}
    with FeatureStore(corpus / "feats.h5") as store:
        assert len(store) == 10


@pytest.mark.slow
def test_a_part_leaves_damaged_shards_and_temporary_files_of_others_alone(
    foal_here: Foal, extract: Callable[..., Result], corpus: Path, scheduler: str
) -> None:
    remote = ["--scheduler", scheduler]
    for name in BROKEN:
        shutil.copy(corpus / "media" / "0.wav", corpus / "media" / f"{name[1:]}.wav")
    assert extract("--part", "1/2", *remote)[0].returncode == 0
    shards = sorted((corpus / "features").glob("c/audio-*/*.h5"))
    assert len(shards) > 1
    damaged = shards[0].with_name("0123456789abcdef.h5")
    damaged.write_bytes(shards[0].read_bytes()[:-100])
    shards[0].unlink()
    of_other = shards[0].with_name(f".tmp-{socket.gethostname()}~{DEAD_PID}~{damaged.name}")
    own = [shards[0].with_name(f".tmp-{host}~{DEAD_PID}~{shards[0].name}") for host in ("node7", socket.gethostname())]
    for path in (of_other, *own):
        path.write_text("half")
    assert extract("--part", "1/2", *remote)[1]["extracted"] == 2
    assert shards[0].exists()
    assert (damaged.exists(), of_other.exists(), [path.exists() for path in own]) == (True, True, [False, False])
    assert extract(*remote)[0].returncode == 0
    assert (damaged.exists(), of_other.exists()) == (False, False)


@pytest.fixture
def one_thread_scheduler() -> Iterator[str]:
    """A scheduler with a worker of one thread: the last bits of features depend on the number of threads."""
    # Dask sets variables for its workers in the environment of this process.
    with patch.dict(os.environ):
        cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0")
    with cluster:
        yield cluster.scheduler_address


# The parent process may ignore the signal.
COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
from foal.shared.cli.main import main
main()
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start a `foal` command in a process of its own."""
    processes: list[subprocess.Popen[str]] = []

    def run(*arguments: str | Path) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
        processes.append(
            subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        return processes[-1]

    yield run
    for process in processes:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()


@pytest.mark.slow
def test_parts_side_by_side_of_which_one_is_killed_give_the_index_of_one_run(
    foal_here: Foal,
    start: Callable[..., "subprocess.Popen[str]"],
    synthetic_corpus: Path,
    one_thread_scheduler: str,
    tmp_path: Path,
) -> None:
    assert foal_here("manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    options = ["-m", "m.csv", "-r", str(synthetic_corpus), "--streams", "audio"]
    command = ["extract", "-s", "all", *options, "--chunk-seconds", "1", "--scheduler", one_thread_scheduler]
    assert foal_here(*command, "--features-dir", "whole").returncode == 0
    parts = [Part(number=number, count=4) for number in range(1, 5)]
    running = [start(*command, "--part", str(part), "--features-dir", "parts", "--json") for part in parts]
    lock = tmp_path / "parts" / part_name(LOCK_NAME, parts[1])
    # A lock without a record would be taken over without a message.
    while not (lock.exists() and lock.stat().st_size) and running[1].poll() is None:
        with suppress(subprocess.TimeoutExpired):
            running[1].wait(timeout=0.005)
    running[1].kill()
    ended = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0, -signal.SIGKILL, 0, 0]
    assert [json.loads(ended[number][0].splitlines()[-1])["part"] for number in (0, 2, 3)] == ["1/4", "3/4", "4/4"]
    assert lock.exists()
    rerun = start(*command, "--part", "2/4", "--features-dir", "parts")
    stdout, stderr = rerun.communicate(timeout=300)
    assert rerun.returncode == 0, stderr
    assert "removed the stale lock of process" in stdout
    done = foal_here("index", *options, "--features-dir", "parts")
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "parts").rglob(".*"))
    with FeatureStore(tmp_path / "whole" / "feats.h5") as whole, FeatureStore(tmp_path / "parts" / "feats.h5") as store:
        assert len(store) == 20
        assert store.digest == whole.digest
