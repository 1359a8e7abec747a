"""Names that nobody expects, and corpora that are very small or very long: from extraction to the store."""

import csv
import shutil
import threading
import time
import wave
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest
import soundfile

from foal.shared.manifest import read_manifest, write_manifest
from foal.shared.store.feature_store import FeatureStore
from foal.shared.utterance import Utterance

Trial = Callable[..., AbstractContextManager[object]]
Start = Callable[..., Any]

NAMES = {
    "combining": ["e\u0301t\u00e9", "\u00e9te\u0301", "a\u030a\u0323", "\u212b", "\u00c5"],
    "emoji": ["\U0001f469\u200d\U0001f469\u200d\U0001f467 laughs", "\U0001f600", "\u2764\ufe0f", "\u2764"],
    "right-to-left": ["\u05e9\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627 1", "\u202elive", "\u200f"],
    "spaces": ["two words", " lead", "trail ", "\u00a0", "\u3000wide", "tab\there"],
    "newlines": ["a\nb", "a\r\nb", "a\rb", "\n", "a\u2028b", "\x0b"],
    "quotes": ['say "hi"', "it's", "`x`", '"', "a,b", ";", "\\", "C:\\x"],
    "percent signs": ["100%", "%s%d%n", "%2F", "%2e%2e", "{0}", "$HOME", "~", "#!", "<b>", "[red]x[/red]", "&amp;"],
    "leading dashes and dots": ["-dash", "--help", ".hidden", "...x", "-", "=1+1", "*", "?", "concat:x", "http:x"],
    "names that differ only in case": ["CASE", "case", "Case", "stra\u00dfe", "STRASSE"],
}
ALL = [(kind, name) for kind, names in NAMES.items() for name in names]
USUAL = ("extract", "-s", "all", "-m", "m.csv", "-r", "media", "-j", "1")


def tone(path: Path, number: int) -> None:
    soundfile.write(path, np.sin(np.arange(4800 + 160 * number) / (5 + number)) / 3, 16000)


def values(folder: Path, stream: str = "audio") -> dict[str, np.ndarray]:
    with FeatureStore(folder / "feats.h5") as store:
        return {u.id: store.packed(stream, [place]).values for place, u in enumerate(store.utterances)}


def test_names_are_only_names(tmp_path: Path, start: Start, trial: Trial) -> None:
    plain, odd = tmp_path / "plain", tmp_path / "odd"
    for folder in (plain, odd):
        (folder / "media").mkdir(parents=True)
    for number, (_, name) in enumerate(ALL):
        tone(plain / "media" / f"{number}.wav", number)
        there = odd / "media" / f"{name}{'' if number % 2 else '.wav'}"
        there.parent.mkdir(exist_ok=True)
        shutil.copy(plain / "media" / f"{number}.wav", there)
    write_manifest(
        plain / "m.csv", [Utterance(id=f"u{n}", corpus="c", audio=f"{n}.wav", label="hap") for n in range(len(ALL))]
    )
    # Every third one has its name as session, and with it a folder, of its own.
    rows = [
        Utterance(
            id=name,
            corpus="c",
            session=name if n % 3 == 0 else "",
            speaker=name,
            label=name,
            transcript=name,
            audio=f"{name}{'' if n % 2 else '.wav'}",
        )
        for n, (_, name) in enumerate(ALL)
    ]
    write_manifest(odd / "m.csv", rows)
    for folder in (plain, odd):
        run = start(folder, *USUAL, "--streams", "audio")
        assert run.finish() == 0, run.err
    verify = start(odd, "verify", "features")
    assert verify.finish() == 0, verify.err
    inspect = start(odd, "inspect", "--csv", "q.csv")
    assert inspect.finish() == 0, inspect.err
    again = start(odd, *USUAL, "--streams", "audio")
    assert again.finish() == 0
    assert "All features are up to date." in again.out
    wanted, got = values(plain), values(odd)
    with FeatureStore(odd / "feats.h5") as store:
        assert {u.id: u for u in store.utterances} == {row.id: row for row in rows}
    with (odd / "q.csv").open(newline="", encoding="utf-8") as file:
        table = {line["id"]: line for line in csv.DictReader(file)}
    for kind in NAMES:
        mine = [n for n, (of, _) in enumerate(ALL) if of == kind]
        with trial(f"ids, paths and sessions with {kind}", "extracted, verified, found again", count=len(mine)):
            for n in mine:
                name = ALL[n][1]
                assert np.array_equal(got[name], wanted[f"u{n}"]), name
                assert table[name]["split"] == (name if n % 3 == 0 else "c")
                assert table[name]["audio:decoded"] == "1"
    assert len(got) == len(ALL)


def test_corpora_of_nothing(tmp_path: Path, start: Start, trial: Trial) -> None:
    (tmp_path / "media").mkdir()
    header = "id,corpus,session,speaker,gender,label,audio,video,start,end,crop\n"
    (tmp_path / "m.csv").write_text(header)
    with trial("a manifest without rows", "refused with a message"):
        run = start(tmp_path, *USUAL)
        assert run.finish() == 1
        assert "m.csv: the manifest is empty" in run.err
    tone(tmp_path / "media" / "a.wav", 1)
    write_manifest(tmp_path / "m.csv", [Utterance(id="a", corpus="c", session="one", audio="a.wav")])
    with trial("a split without rows", "refused, and those that there are named"):
        run = start(tmp_path, "extract", "-s", "two", "-m", "m.csv", "-r", "media")
        assert run.finish() == 2
        assert "the manifest has one" in run.err
    write_manifest(tmp_path / "m.csv", [Utterance(id=f"g{n}", corpus="c", audio=f"g{n}.wav") for n in range(5)])
    with trial("a corpus of which every row fails", "said so, no index, no shard", count=5):
        run = start(tmp_path, *USUAL, "--streams", "audio")
        assert run.finish() == 1
        assert "none of the 5 utterances could be extracted: there is no such file" in run.err
        assert not (tmp_path / "feats.h5").exists()
        assert not list((tmp_path / "features").rglob("*.h5"))


MINUTES = 40
MEMORY = 1200 << 20
"""Bytes that a worker may take for it beyond what it takes for a second: sound at 16 kHz alone is 150 MB of them."""


def long_wav(path: Path, seconds: int) -> None:
    chance = np.random.default_rng(1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        second = (chance.normal(size=16000) * 3000).astype("<i2").tobytes()
        for _ in range(seconds):
            file.writeframesraw(second)


def long_film(path: Path, seconds: int, fps: int) -> None:
    picture = np.random.default_rng(2).integers(0, 255, (48, 64, 3), np.uint8)
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=fps)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for _ in range(seconds * fps):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())


def most_memory(run: Any, timeout: float) -> int:
    """Finish a run; the most memory that one of its workers took, in bytes."""
    most = 0

    def watch() -> None:
        nonlocal most
        while run.process.poll() is None:
            for worker in run.workers():
                with suppress(psutil.Error):
                    most = max(most, worker.memory_info().rss)
            time.sleep(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert run.finish(timeout=timeout) == 0, run.err
    watcher.join()
    return most


@pytest.mark.parametrize("stream", ["audio", "face"])
def test_an_utterance_of_forty_minutes(tmp_path: Path, start: Start, trial: Trial, stream: str) -> None:
    what = {"audio": "sound", "face": "video"}[stream]
    memory = []
    for seconds in (1, MINUTES * 60):
        folder = tmp_path / str(seconds)
        (folder / "media").mkdir(parents=True)
        long_wav(folder / "media" / "long.wav", seconds)
        long_film(folder / "media" / "long.avi", seconds, 2)
        write_manifest(folder / "m.csv", [Utterance(id="long", corpus="c", audio="long.wav", video="long.avi")])
        run = start(folder, *USUAL, "--streams", stream, "--fps", "1", "--no-index")
        memory.append(most_memory(run, 900))
    with trial(f"one utterance of {MINUTES} minutes of {what}", f"extracted within {MEMORY >> 20} MiB"):
        assert memory[1] < memory[0] + MEMORY, [size >> 20 for size in memory]
        index = start(folder, "index", "-m", "m.csv", "-r", "media", "--streams", stream)
        assert index.finish() == 0, index.err
        (long,) = values(folder, stream).values()
        rate = {"audio": 50, "face": 1}[stream]
        assert abs(len(long) - MINUTES * 60 * rate) <= 1


def test_a_thousand_utterances_of_one_file(tmp_path: Path, start: Start, trial: Trial) -> None:
    (tmp_path / "media").mkdir()
    long_wav(tmp_path / "media" / "a.wav", 200)
    long_film(tmp_path / "media" / "a.avi", 200, 10)
    rows = [
        Utterance(id=f"u{n}", corpus="c", audio="a.wav", video="a.avi", start=n / 5, end=n / 5 + 0.2)
        for n in range(1000)
    ]
    write_manifest(tmp_path / "m.csv", rows)
    with trial("a media file with a thousand utterances", "each has its own stretch", count=1000):
        run = start(tmp_path, *USUAL, "--fps", "5")
        assert run.finish(timeout=600) == 0, run.err
        assert read_manifest(tmp_path / "m.csv") == rows
        with FeatureStore(tmp_path / "feats.h5") as store:
            assert [u.id for u in store.utterances] == [row.id for row in rows]
            assert set(store.lengths("face").tolist()) == {1}
            assert set(store.lengths("audio").tolist()) == {9}
            assert set(store.quality("audio")["decoded"].tolist()) == {1.0}
            assert set(store.quality("face")["decoded"].tolist()) == {1.0}
        sounds = values(tmp_path)
        # Each second is like the first, so that every fifth utterance is.
        assert np.allclose(sounds["u3"], sounds["u998"], atol=1e-3)
        assert not np.allclose(sounds["u3"], sounds["u4"], atol=1e-3)
