"""Media files that kill workers, media files that block when opened, and suspended workers."""

import csv
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from foal.shared.manifest import write_manifest
from foal.shared.utterance import Utterance

Start = Callable[..., Any]
Blocked = Callable[[Path], AbstractContextManager[None]]
FILES = 16
UTTERANCE_LISTED = "its utterance is identified and listed in failures.csv; the others are extracted"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A corpus of sixteen tones."""
    root = tmp_path / "media"
    root.mkdir()
    for number in range(FILES):
        soundfile.write(root / f"{number}.wav", np.sin(np.arange(8000) / (5 + number)) / 3, 16000)
    utterances = [Utterance(id=f"u{n}", corpus="c", label="hap", audio=f"{n}.wav", end=0.5) for n in range(FILES)]
    write_manifest(tmp_path / "m.csv", utterances)
    return tmp_path


EXTRACT = ("extract", "-s", "all", "-m", "m.csv", "-r", "media", "-j", "2", "--chunk-seconds", "2")
AUDIO = ("--streams", "audio")


def read_failures(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "features" / "c" / "failures.csv").open(newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


@contextmanager
def kill_workers_that_open(run: Any, file: Path) -> Iterator[None]:
    """Kill every worker that opens the file, as a crashing decoder would."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.005):
            for process in run.workers():
                with suppress(OSError):
                    for descriptor in os.listdir(f"/proc/{process.pid}/fd"):
                        with suppress(OSError):
                            if os.readlink(f"/proc/{process.pid}/fd/{descriptor}") == str(file):
                                os.kill(process.pid, signal.SIGKILL)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_utterance_that_kills_workers_is_identified(
    start: Start, trial: Any, tmp_path: Path, make_video: Any, read_features: Any
) -> None:
    root = tmp_path / "media"
    root.mkdir()
    for number in range(8):
        # Video 5 is long, so that `kill_workers_that_open` observes the open file.
        make_video(root / f"{number}.mp4", frames=2700 if number == 5 else 25)
    utterances = [Utterance(id=f"u{n}", corpus="c", label="hap", video=f"{n}.mp4", end=1.0) for n in range(8)]
    utterances[5] = Utterance(id="u5", corpus="c", label="hap", video="5.mp4", end=108.0)
    write_manifest(tmp_path / "m.csv", utterances)
    command = [*EXTRACT, "--streams", "face", "--chunk-seconds", "100"]
    with trial("a media file that kills every worker that opens it", UTTERANCE_LISTED):
        run = start(tmp_path, *command)
        with kill_workers_that_open(run, root / "5.mp4"):
            assert run.finish(timeout=900) == 3, run.err
        failures = read_failures(tmp_path)
        assert set(failures) == {"u5"}
        assert "worker processes that ran it died" in failures["u5"]["reason"]
        assert "--retry-failed" in failures["u5"]["remedy"]
        assert {name for *_, name in read_features(tmp_path / "features")} == {f"u{n}" for n in range(8)} - {"u5"}
        run = start(tmp_path, *command)
        assert run.finish() == 3
        assert "Nothing is left to extract but 1 utterance (u5)" in " ".join(run.out.split())
        run = start(tmp_path, *command, "--retry-failed")
        assert run.finish() == 0, run.err
        assert len(read_features(tmp_path / "features")) == 8


@contextmanager
def lease_time(seconds: int) -> Iterator[None]:
    setting = Path("/proc/sys/fs/lease-break-time")
    before = setting.read_text()
    try:
        setting.write_text(str(seconds))
    except OSError:
        pytest.skip("changing the lease time is not permitted here")
    try:
        yield
    finally:
        setting.write_text(before)


def test_file_that_blocks_is_identified(
    start: Start, trial: Any, corpus: Path, read_features: Any, blocked_file: Blocked
) -> None:
    command = [*EXTRACT, *AUDIO, "--set", "extract.task_timeout=12"]
    with (
        trial("a media file that blocks when opened", UTTERANCE_LISTED),
        lease_time(600),
        blocked_file(corpus / "media" / "9.wav"),
    ):
        run = start(corpus, *command)
        assert run.finish(timeout=200) == 3, run.err
        failures = read_failures(corpus)
        assert set(failures) == {"u9"}
        assert "not finished within" in failures["u9"]["reason"]
        assert len(read_features(corpus / "features")) == FILES - 1
    run = start(corpus, *command, "--retry-failed")
    assert run.finish() == 0, run.err
    assert len(read_features(corpus / "features")) == FILES


def test_suspended_worker_is_replaced(
    start: Start, trial: Any, corpus: Path, read_features: Any, finished_shards: Any
) -> None:
    with trial("a suspended worker (SIGSTOP)", "it is replaced; another worker extracts its utterances"):
        run = start(corpus, *EXTRACT, *AUDIO, "--chunk-seconds", "0.5", "--set", "extract.task_timeout=12")
        run.wait_for(lambda: finished_shards(corpus / "features"))
        run.workers()[0].suspend()
        started = time.monotonic()
        assert run.finish(timeout=300) == 0, run.err
        assert time.monotonic() - started < 240
        assert len(read_features(corpus / "features")) == FILES
        assert not (corpus / "features" / "c" / "failures.csv").exists()


def test_suspended_run_continues(
    start: Start, trial: Any, corpus: Path, read_features: Any, finished_shards: Any
) -> None:
    with trial(
        "a run that is suspended (Ctrl-Z) for longer than all deadlines", "it continues; nothing is computed twice"
    ):
        run = start(corpus, *EXTRACT, *AUDIO, "--chunk-seconds", "0.5", "--set", "extract.task_timeout=3")
        run.wait_for(lambda: finished_shards(corpus / "features"))
        processes = [*run.descendants(), psutil.Process(run.process.pid)]
        for process in reversed(processes):
            process.suspend()
        before = finished_shards(corpus / "features")
        time.sleep(25)
        for process in processes:
            process.resume()
        assert run.finish(timeout=300) == 0, run.err
        assert before.items() <= finished_shards(corpus / "features").items()
        assert len(read_features(corpus / "features")) == FILES
