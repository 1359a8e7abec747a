"""Damaged and undamaged media files in one corpus: only the utterances of damaged files are affected."""

import csv
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from foal.shared.manifest import write_manifest
from foal.shared.utterance import Utterance
from foal.tests.faults.damaged_media import (
    AUDIO_FILES,
    CHANGED_DURING_RUN,
    DIALOG_FILE,
    KINDS,
    NOT_MEDIA,
    NOT_REGULAR,
    VIDEO_FILES,
    write_damaged_files,
    write_video,
)

Trial = Callable[..., AbstractContextManager[object]]
Start = Callable[..., Any]
Values = dict[tuple[str, str, str], tuple[bytes, bytes]]
EXTRACT = ("extract", "-s", "all", "-m", "m.csv", "-r", "media", "--fps", "5", "--chunk-seconds", "8", "-j", "2")
FOAL_COMMAND = [sys.executable, "-c", "from foal.shared.cli.main import main; main()"]
UNDAMAGED = 59
EXTRA_MEMORY = 1 << 30
"""Bytes of a worker beyond those for a corpus without damaged files."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, synthetic_corpus: Path) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("sources")
    noise = np.random.default_rng(3).normal(size=8000) / 9
    for name in AUDIO_FILES:
        soundfile.write(folder / name, noise, 16000)
    for name, tracks in VIDEO_FILES.items():
        write_video(folder / name, *tracks)
    shutil.copy(sorted(synthetic_corpus.glob("Session1/dialog/avi/DivX/*.avi"))[0], folder / DIALOG_FILE)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def utterance(utterance_id: str, name: str) -> Utterance:
    """Half a second of one person for the dialog, else the complete file; the extension decides if there is a video."""
    audio_only = Path(name).suffix in (".wav", ".flac", ".mp3", ".ogg")
    segment: dict[str, Any] = {"start": 0.5, "end": 1.0, "crop": "left"} if name.endswith(DIALOG_FILE) else {}
    return Utterance(
        id=utterance_id,
        corpus="fuzz",
        session=f"s{len(utterance_id) % 2}",
        label="hap",
        audio=name,
        video="" if audio_only else name,
        **segment,
    )


@dataclass(kw_only=True)
class Outcome:
    folder: Path
    code: int
    kinds: dict[str, str]
    values: Values
    undisturbed: Values
    failures: dict[tuple[str, str], dict[str, str]]
    memory: tuple[int, int]


def peak_memory(run: Any) -> int:
    """Wait for a run to end and return the peak memory of its largest worker, in bytes."""
    peak = 0
    while run.process.poll() is None:
        for worker in run.workers():
            with suppress(psutil.Error):
                peak = max(peak, worker.memory_info().rss)
        time.sleep(0.1)
    return peak


def run_and_measure(start: Start, folder: Path, during_run: Callable[[], None]) -> tuple[int, int]:
    """Return exit code and peak memory of a run; `during_run` is called once its workers have started."""
    run = start(folder, *EXTRACT, "--allow-outside")
    memory: list[int] = []
    watcher = threading.Thread(target=lambda: memory.append(peak_memory(run)))
    watcher.start()
    run.wait_for(run.workers)
    during_run()
    code = run.finish(timeout=1500)
    watcher.join()
    return code, memory[0]


def read_failures(features: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Return the rows of all failures.csv files by id and stream."""
    failures: dict[tuple[str, str], dict[str, str]] = {}
    for path in features.glob("*/failures.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            failures |= {(line["id"], line["stream"]): line for line in csv.DictReader(file)}
    return failures


@pytest.fixture(scope="module")
def outcome(
    tmp_path_factory: pytest.TempPathFactory,
    sources: dict[str, bytes],
    start: Start,
    read_features: Callable[[Path], Values],
) -> Outcome:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "media").mkdir()
    kinds = {name: kind for kind, name in write_damaged_files(sources, folder / "media")}
    undamaged = [f"fine-{number}-{source}" for source in sources for number in range(3 if source == DIALOG_FILE else 7)]
    for name in undamaged:
        (folder / "media" / name).write_bytes(sources[name.split("-")[2]])
    rows = [utterance(name, name) for name in undamaged]
    write_manifest(folder / "m.csv", rows)
    code, reference_peak = run_and_measure(start, folder, lambda: None)
    assert code == 0
    undisturbed = read_features(folder / "features")
    shutil.rmtree(folder / "features")
    rows += [utterance(name, name) for name in kinds]
    random.Random(5).shuffle(rows)
    write_manifest(folder / "m.csv", rows)

    def change_files() -> None:
        for number, name in enumerate(name for name, kind in kinds.items() if kind == CHANGED_DURING_RUN):
            path = folder / "media" / name
            match number % 3:
                case 0:
                    path.unlink()
                case 1:
                    path.write_bytes(b"")
                case _:
                    os.truncate(path, path.stat().st_size // 3)

    code, peak = run_and_measure(start, folder, change_files)
    return Outcome(
        folder=folder,
        code=code,
        kinds=kinds,
        values=read_features(folder / "features"),
        undisturbed=undisturbed,
        failures=read_failures(folder / "features"),
        memory=(reference_peak, peak),
    )


def test_damaged_files_affect_only_their_own_utterances(outcome: Outcome, start: Start, trial: Trial) -> None:
    extracted = {(name, folder.partition("-")[0]) for _, folder, name in outcome.values}
    for kind in KINDS:
        names = [name for name, file_kind in outcome.kinds.items() if file_kind == kind]
        with trial(kind, "each stream is extracted or listed in failures.csv", count=len(names)):
            expected = {(name, stream) for name in names for stream in ("audio", "face")}
            assert expected - extracted - set(outcome.failures) == set()
            assert expected & extracted & set(outcome.failures) == set()
            listed = [line for (name, _), line in outcome.failures.items() if name in names]
            assert all(line["reason"] and line["remedy"] for line in listed)
            if kind in (NOT_MEDIA, NOT_REGULAR):
                assert {name for name, stream in expected & extracted if stream == "audio"} == set()
    with trial("undamaged media files in the chunks of damaged ones", "byte-identical values", count=UNDAMAGED):
        assert outcome.code == 3
        assert len({name for _, _, name in outcome.undisturbed}) == UNDAMAGED
        values = {key: outcome.values.get(key) for key in outcome.undisturbed}
        assert {key for key in values if values[key] != outcome.undisturbed[key]} == set()
        assert not [name for name, _ in outcome.failures if name.startswith("fine-")]
        assert not list((outcome.folder / "features").rglob(".tmp-*"))
        assert start(outcome.folder, "verify", "features").finish() == 0
        reference_peak, peak = outcome.memory
        assert peak < reference_peak + EXTRA_MEMORY, f"{peak >> 20} MiB against {reference_peak >> 20}"


def test_files_without_read_permission_are_listed(
    sources: dict[str, bytes], unprivileged: list[str], trial: Trial
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "media" / "shut").mkdir(parents=True)
        for path in ("a.wav", "b.wav", "shut/c.wav"):
            (folder / "media" / path).write_bytes(sources["tone.wav"])
        write_manifest(folder / "m.csv", [utterance(path, path) for path in ("a.wav", "b.wav", "shut/c.wav")])
        (folder / "media" / "b.wav").chmod(0)
        (folder / "media" / "shut").chmod(0)
        with trial(
            "a media file or folder without read permission", "the utterances are listed in failures.csv", count=2
        ):
            done = subprocess.run(
                [*unprivileged, *FOAL_COMMAND, *EXTRACT, "--streams", "audio"],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert done.returncode == 3, done.stderr
            assert set(read_failures(folder / "features")) == {("b.wav", "audio"), ("shut/c.wav", "audio")}
