"""Media files with every kind of damage, in one corpus beside healthy ones: they cost their own utterances only."""

import csv
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest
import soundfile

from foal.shared.manifest import write_manifest
from foal.shared.utterance import Utterance

Trial = Callable[..., AbstractContextManager[object]]
Start = Callable[..., Any]
Values = dict[tuple[str, str, str], tuple[bytes, bytes]]

SOUNDS = ("tone.wav", "tone.flac", "tone.mp3", "tone.ogg")
FILMS = {
    "film.mp4": ("libx264", "aac", 44100),
    "film.mkv": ("libx264", "aac", 44100),
    "film.avi": ("mpeg4", "mp3", 44100),
    "film.webm": ("libvpx", "libopus", 48000),
}
TALK = "talk.avi"
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

BITS, CUT, ZEROS, NAMES, HEADERS, NO_MEDIA, NO_FILE, GONE = (
    "1 to 200 bits turned in a media file",
    "a media file cut off",
    "a stretch of zeros in a media file",
    "a media file under another format's name",
    "wild numbers in a media file's header",
    "an empty file, text or noise as media",
    "a pipe, socket, folder or device as media",
    "a media file that is removed, emptied or cut during the run",
)
KINDS = (BITS, CUT, ZEROS, NAMES, HEADERS, NO_MEDIA, NO_FILE, GONE)


def film(path: Path, codec: str, sound: str, rate_hz: int) -> None:
    """Half a second of noise in both tracks."""
    chance = np.random.default_rng(len(path.name))
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=20)
        audio = container.add_stream(sound, rate=rate_hz, layout="mono")
        assert isinstance(video, av.VideoStream)
        assert isinstance(audio, av.AudioStream)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        video.codec_context.gop_size = 6
        for number in range(10):
            picture = chance.integers(0, 255, (64, 96, 3), np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            wave = av.AudioFrame.from_ndarray(
                chance.normal(size=(1, rate_hz // 20)).astype(np.float32) / 9, format="fltp", layout="mono"
            )
            wave.sample_rate, wave.pts = rate_hz, number * (rate_hz // 20)
            container.mux(audio.encode(wave))
        container.mux(video.encode())
        container.mux(audio.encode())


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


def with_bits_turned(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 2, 5, 20, 60, 200))):
        # Every second one near the beginning, where the headers are.
        place = chance.randrange(min(len(changed), chance.choice((600, len(changed)))))
        changed[place] ^= 1 << chance.randrange(8)
    return bytes(changed)


def with_zeros(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content))
    length = min(len(content) - place, chance.choice((16, 200, 3000)))
    return content[:place] + bytes(length) + content[place + length :]


BOXES = (
    b"mvhd",
    b"tkhd",
    b"mdhd",
    b"elst",
    b"stts",
    b"stsz",
    b"stsc",
    b"stco",
    b"ctts",
    b"stss",
    b"avc1",
    b"mp4a",
    b"hdlr",
    b"avih",
    b"strh",
    b"strf",
    b"fmt ",
    b"data",
    b"fLaC",
    b"OpusHead",
    b"vorbis",
    b"\x16T\xaek",
    b"\x15I\xa9f",
    b"Xing",
    b"Info",
    b"\xff\xfb",
    b"moov",
    b"mdat",
    b"RIFF",
    b"LIST",
    b"\x1f\x43\xb6\x75",
    b"idx1",
    b"movi",
    b"OggS",
)
WILD = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF0000, 1 << 20)


def with_wild_numbers(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    there = [box for box in BOXES if box in content]
    for _ in range(chance.choice((1, 1, 2, 4))):
        place = content.index(chance.choice(there)) + chance.choice((-4, *range(4, 44, 2)))
        number = struct.pack(chance.choice("<>") + "I", chance.choice(WILD))[: chance.choice((2, 4))]
        place = min(max(0, place), len(changed) - 4)
        changed[place : place + len(number)] = number
    return bytes(changed)


def damaged(sources: dict[str, bytes], folder: Path) -> Iterator[tuple[str, str]]:
    """Write all the damaged files; give the kind and name of each."""
    chance = random.Random(2024)
    names = [*SOUNDS, *FILMS]
    for kind, count, change in (
        (BITS, 96, with_bits_turned),
        (ZEROS, 32, with_zeros),
        (HEADERS, 88, with_wild_numbers),
        (CUT, 40, lambda content, chance: content[: chance.randrange(1, len(content))]),
    ):
        for number in range(count):
            source = TALK if number % 20 == 19 else names[number % len(names)]
            name = f"{KINDS.index(kind)}-{number}-{source}"
            (folder / name).write_bytes(change(sources[source], chance))
            yield kind, name
    for number in range(16):
        source, other = chance.sample(names, 2)
        name = f"n{number}-{source}{Path(other).suffix}"
        (folder / name).write_bytes(sources[source])
        yield NAMES, name
    for number, source in enumerate(("x.wav", "x.flac", "x.mp4", "x.mkv", "x.avi", "x.mp3", "x.webm", "x.ogg")):
        for content in (b"", b"only words\n" * 300, chance.randbytes(5000))[number % 3 :][:2]:
            name = f"o{number}{len(content)}-{source}"
            (folder / name).write_bytes(content)
            yield NO_MEDIA, name
    for suffix in ("wav", "mp4"):
        os.mkfifo(folder / f"pipe.{suffix}")
        (folder / f"folder.{suffix}").mkdir()
        (folder / f"zero.{suffix}").symlink_to("/dev/zero")
        with socket.socket(socket.AF_UNIX) as heard:
            heard.bind(os.path.relpath(folder / f"socket.{suffix}"))
        for name in ("pipe", "folder", "zero", "socket"):
            yield NO_FILE, f"{name}.{suffix}"
    for number, source in enumerate((*FILMS, *SOUNDS)):
        (folder / f"g{number}-{source}").write_bytes(sources[source])
        yield GONE, f"g{number}-{source}"


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
