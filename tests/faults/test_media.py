"""Media files with every kind of damage, in one corpus beside healthy ones: they cost their own utterances only."""

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
from foal.tests.faults.damaged_media import FILMS, GONE, KINDS, NO_FILE, NO_MEDIA, SOUNDS, TALK, damaged, film

Trial = Callable[..., AbstractContextManager[object]]
Start = Callable[..., Any]
Values = dict[tuple[str, str, str], tuple[bytes, bytes]]
USUAL = (
    "extract",
    "-s",
    "all",
    "-m",
    "m.csv",
    "-r",
    "media",
    "--fps",
    "5",
    "--chunk-seconds",
    "8",
    "-j",
    "2",
    # The last bits of a face depend on those beside it in a batch.
)
COMMAND = [sys.executable, "-c", "from foal.shared.cli.main import main; main()"]
HEALTHY = 59
EXTRA_MEMORY = 1 << 30
"""Bytes that damaged files may cost a worker beyond what healthy ones do."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, synthetic_corpus: Path) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("sources")
    noise = np.random.default_rng(3).normal(size=8000) / 9
    for name in SOUNDS:
        soundfile.write(folder / name, noise, 16000)
    for name, tracks in FILMS.items():
        film(folder / name, *tracks)
    shutil.copy(sorted(synthetic_corpus.glob("Session1/dialog/avi/DivX/*.avi"))[0], folder / TALK)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def row(identity: str, name: str) -> Utterance:
    """Of a dialog one person, half a second; of all others everything. Names alone say whether there is a picture."""
    sound_only = Path(name).suffix in (".wav", ".flac", ".mp3", ".ogg")
    part: dict[str, Any] = {"start": 0.5, "end": 1.0, "crop": "left"} if name.endswith(TALK) else {}
    return Utterance(
        id=identity,
        corpus="fuzz",
        session=f"s{len(identity) % 2}",
        label="hap",
        audio=name,
        video="" if sound_only else name,
        **part,
    )


@dataclass(kw_only=True)
class Outcome:
    folder: Path
    code: int
    kinds: dict[str, str]
    values: Values
    alone: Values
    failures: dict[tuple[str, str], dict[str, str]]
    memory: tuple[int, int]


def watched(run: Any) -> int:
    """The most memory that a worker of a run takes, in bytes, until the run has ended."""
    most = 0
    while run.process.poll() is None:
        for worker in run.workers():
            with suppress(psutil.Error):
                most = max(most, worker.memory_info().rss)
        time.sleep(0.1)
    return most


def extracted(start: Start, folder: Path, meanwhile: Callable[[], None]) -> tuple[int, int]:
    """Exit code and memory of a run; `meanwhile` is done when its workers have begun."""
    run = start(folder, *USUAL, "--allow-outside")
    memory: list[int] = []
    watcher = threading.Thread(target=lambda: memory.append(watched(run)))
    watcher.start()
    run.wait_for(run.workers)
    meanwhile()
    code = run.finish(timeout=1500)
    watcher.join()
    return code, memory[0]


def failures_in(features: Path) -> dict[tuple[str, str], dict[str, str]]:
    """The rows of all failures.csv, by id and stream."""
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
    features_of: Callable[[Path], Values],
) -> Outcome:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "media").mkdir()
    kinds = {name: kind for kind, name in damaged(sources, folder / "media")}
    healthy = [f"fine-{number}-{source}" for source in sources for number in range(3 if source == TALK else 7)]
    for name in healthy:
        (folder / "media" / name).write_bytes(sources[name.split("-")[2]])
    rows = [row(name, name) for name in healthy]
    write_manifest(folder / "m.csv", rows)
    code, usual = extracted(start, folder, lambda: None)
    assert code == 0
    alone = features_of(folder / "features")
    shutil.rmtree(folder / "features")
    rows += [row(name, name) for name in kinds]
    random.Random(5).shuffle(rows)
    write_manifest(folder / "m.csv", rows)

    def spoil() -> None:
        for number, name in enumerate(name for name, kind in kinds.items() if kind == GONE):
            path = folder / "media" / name
            match number % 3:
                case 0:
                    path.unlink()
                case 1:
                    path.write_bytes(b"")
                case _:
                    os.truncate(path, path.stat().st_size // 3)

    code, most = extracted(start, folder, spoil)
    return Outcome(
        folder=folder,
        code=code,
        kinds=kinds,
        values=features_of(folder / "features"),
        alone=alone,
        failures=failures_in(folder / "features"),
        memory=(usual, most),
    )


def test_damaged_files_cost_their_own_utterances_only(outcome: Outcome, start: Start, trial: Trial) -> None:
    done = {(name, folder.partition("-")[0]) for _, folder, name in outcome.values}
    for kind in KINDS:
        names = [name for name, is_of in outcome.kinds.items() if is_of == kind]
        with trial(kind, "what is left is extracted, or listed in failures.csv", count=len(names)):
            wanted = {(name, stream) for name in names for stream in ("audio", "face")}
            assert wanted - done - set(outcome.failures) == set()
            assert wanted & done & set(outcome.failures) == set()
            listed = [line for (name, _), line in outcome.failures.items() if name in names]
            assert all(line["reason"] and line["remedy"] for line in listed)
            if kind in (NO_MEDIA, NO_FILE):
                assert {name for name, stream in wanted & done if stream == "audio"} == set()
    with trial("healthy files in one chunk with damaged ones", "the same values, byte for byte", count=HEALTHY):
        assert outcome.code == 3
        assert len({name for _, _, name in outcome.alone}) == HEALTHY
        there = {place: outcome.values.get(place) for place in outcome.alone}
        assert {place for place in there if there[place] != outcome.alone[place]} == set()
        assert not [name for name, _ in outcome.failures if name.startswith("fine-")]
        assert not list((outcome.folder / "features").rglob(".tmp-*"))
        assert start(outcome.folder, "verify", "features").finish() == 0
        usual, most = outcome.memory
        assert most < usual + EXTRA_MEMORY, f"{most >> 20} MiB against {usual >> 20}"


def test_a_file_without_permission(sources: dict[str, bytes], somebody: list[str], trial: Trial) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "media" / "shut").mkdir(parents=True)
        for place in ("a.wav", "b.wav", "shut/c.wav"):
            (folder / "media" / place).write_bytes(sources["tone.wav"])
        write_manifest(folder / "m.csv", [row(place, place) for place in ("a.wav", "b.wav", "shut/c.wav")])
        (folder / "media" / "b.wav").chmod(0)
        (folder / "media" / "shut").chmod(0)
        with trial("a media file, or its folder, that may not be read", "listed in failures.csv", count=2):
            done = subprocess.run(
                [*somebody, *COMMAND, *USUAL, "--streams", "audio"],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert done.returncode == 3, done.stderr
            assert set(failures_in(folder / "features")) == {("b.wav", "audio"), ("shut/c.wav", "audio")}
