"""A file that kills workers, a file that never answers, and a worker that is suspended."""

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
Silent = Callable[[Path], AbstractContextManager[None]]
FILES = 16


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Sixteen tones."""
    root = tmp_path / "media"
    root.mkdir()
    for number in range(FILES):
        soundfile.write(root / f"{number}.wav", np.sin(np.arange(8000) / (5 + number)) / 3, 16000)
    utterances = [Utterance(id=f"u{n}", corpus="c", label="hap", audio=f"{n}.wav", end=0.5) for n in range(FILES)]
    write_manifest(tmp_path / "m.csv", utterances)
    return tmp_path


USUAL = ("extract", "-s", "all", "-m", "m.csv", "-r", "media", "-j", "2", "--chunk-seconds", "2")
AUDIO = ("--streams", "audio")


def listed(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "features" / "c" / "failures.csv").open(newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


@contextmanager
def deadly(run: Any, file: Path) -> Iterator[None]:
    """Whichever worker opens the file dies, as of a decoder that crashes."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.005):
            for process in run.workers():
                with suppress(OSError):
                    for handle in os.listdir(f"/proc/{process.pid}/fd"):
                        with suppress(OSError):
                            if os.readlink(f"/proc/{process.pid}/fd/{handle}") == str(file):
                                os.kill(process.pid, signal.SIGKILL)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_the_utterance_that_kills_workers_is_found(
    start: Start, trial: Any, tmp_path: Path, make_video: Any, features_of: Any
) -> None:
    root = tmp_path / "media"
    root.mkdir()
    for number in range(8):
        # The fifth is open for longer than anybody needs to notice.
        make_video(root / f"{number}.mp4", frames=900 if number == 5 else 25)
    utterances = [Utterance(id=f"u{n}", corpus="c", label="hap", video=f"{n}.mp4", end=1.0) for n in range(8)]
    utterances[5] = Utterance(id="u5", corpus="c", label="hap", video="5.mp4", end=36.0)
    write_manifest(tmp_path / "m.csv", utterances)
    usual = [*USUAL, "--streams", "face", "--chunk-seconds", "100"]
    with trial("a file over which every worker dies", "its utterance is found and listed, the others are done"):
        run = start(tmp_path, *usual)
        with deadly(run, root / "5.mp4"):
            assert run.finish() == 3, run.err
        failed = listed(tmp_path)
        assert set(failed) == {"u5"}
        assert "worker processes that ran it died" in failed["u5"]["reason"]
        assert "--retry-failed" in failed["u5"]["remedy"]
        assert {name for *_, name in features_of(tmp_path / "features")} == {f"u{n}" for n in range(8)} - {"u5"}
        run = start(tmp_path, *usual)
        assert run.finish() == 3
        assert "All features are up to date." in run.out
        run = start(tmp_path, *usual, "--retry-failed")
        assert run.finish() == 0, run.err
        assert len(features_of(tmp_path / "features")) == 8


@contextmanager
def lease_time(seconds: int) -> Iterator[None]:
    place = Path("/proc/sys/fs/lease-break-time")
    before = place.read_text()
    try:
        place.write_text(str(seconds))
    except OSError:
        pytest.skip("this machine does not let us make a file that never answers")
    try:
        yield
    finally:
        place.write_text(before)


def test_a_file_that_never_answers(start: Start, trial: Any, corpus: Path, features_of: Any, silent: Silent) -> None:
    usual = [*USUAL, *AUDIO, "--set", "extract.task_timeout=12"]
    with (
        trial("a file that never answers", "its utterance is found and listed, the others are done"),
        lease_time(600),
        silent(corpus / "media" / "9.wav"),
    ):
        run = start(corpus, *usual)
        assert run.finish(timeout=200) == 3, run.err
        failed = listed(corpus)
        assert set(failed) == {"u9"}
        assert "not finished within" in failed["u9"]["reason"]
        assert len(features_of(corpus / "features")) == FILES - 1
    run = start(corpus, *usual, "--retry-failed")
    assert run.finish() == 0, run.err
    assert len(features_of(corpus / "features")) == FILES


def test_a_worker_that_stands_still(
    start: Start, trial: Any, corpus: Path, features_of: Any, finished_shards: Any
) -> None:
    with trial("a worker that stands still (SIGSTOP)", "it is replaced, its utterances are done by another"):
        run = start(corpus, *USUAL, *AUDIO, "--chunk-seconds", "0.5", "--set", "extract.task_timeout=12")
        run.wait_for(lambda: finished_shards(corpus / "features"))
        for process in run.workers()[:1]:
            process.suspend()
        began = time.monotonic()
        assert run.finish(timeout=300) == 0, run.err
        assert time.monotonic() - began < 240
        assert len(features_of(corpus / "features")) == FILES
        assert not (corpus / "features" / "c" / "failures.csv").exists()


def test_a_run_that_is_paused(start: Start, trial: Any, corpus: Path, features_of: Any, finished_shards: Any) -> None:
    with trial("a run that is paused (Ctrl-Z) beyond all deadlines", "it goes on, nothing is done twice"):
        run = start(corpus, *USUAL, *AUDIO, "--chunk-seconds", "0.5", "--set", "extract.task_timeout=3")
        run.wait_for(lambda: finished_shards(corpus / "features"))
        everybody = [*run.descendants(), psutil.Process(run.process.pid)]
        for process in reversed(everybody):
            process.suspend()
        before = finished_shards(corpus / "features")
        time.sleep(25)
        for process in everybody:
            process.resume()
        assert run.finish(timeout=300) == 0, run.err
        assert before.items() <= finished_shards(corpus / "features").items()
        assert len(features_of(corpus / "features")) == FILES
