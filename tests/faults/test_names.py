"""Unusual names, empty corpora, very long utterances, and files with many utterances: from extraction to the store."""

import csv
import shutil
import threading
import time
import wave
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest
import soundfile

from foal.shared.files.unicode_names import nfc
from foal.shared.manifest import read_manifest, write_manifest
from foal.shared.manifest_rows import NAMES
from foal.shared.store.feature_store import FeatureStore
from foal.shared.utterance import Utterance

Trial = Callable[..., AbstractContextManager[object]]
Start = Callable[..., Any]

NAMES_BY_KIND = {
    "combining characters": ["e\u0301t\u00e9", "\u00e8te\u0301", "a\u030a\u0323", "\u212b"],
    "emoji": ["\U0001f469\u200d\U0001f469\u200d\U0001f467 laughs", "\U0001f600", "\u2764\ufe0f", "\u2764"],
    "right-to-left text": ["\u05e9\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627 1", "\u202elive", "\u200f"],
    "spaces": ["two words", " lead", "trail ", "\u00a0", "\u3000wide", "tab\there"],
    "newlines": ["a\nb", "a\r\nb", "a\rb", "\n", "a\u2028b", "\x0b"],
    "quotes": ['say "hi"', "it's", "`x`", '"', "a,b", ";", "\\", "C:\\x"],
    "percent signs and markup": [
        "100%",
        "%s%d%n",
        "%2F",
        "%2e%2e",
        "{0}",
        "$HOME",
        "~",
        "#!",
        "<b>",
        "[red]x[/red]",
        "&amp;",
    ],
    "leading dashes and dots": ["-dash", "--help", ".hidden", "...x", "-", "=1+1", "*", "?", "concat:x", "http:x"],
    "letters that differ only in case": ["CASE", "case", "Case", "stra\u00dfe", "STRASSE"],
}
CASES = [(kind, name) for kind, names in NAMES_BY_KIND.items() for name in names]
EXTRACT = ("extract", "-s", "all", "-m", "m.csv", "-r", "media", "-j", "1")


def write_tone(path: Path, number: int) -> None:
    soundfile.write(path, np.sin(np.arange(4800 + 160 * number) / (5 + number)) / 3, 16000)


def with_nfc_names(row: Utterance) -> Utterance:
    """The row as it is read from a manifest; paths and transcripts keep their Unicode form."""
    names: dict[str, Any] = {name: nfc(getattr(row, name)) for name in NAMES}
    return replace(row, **names)


def read_values(folder: Path, stream: str = "audio") -> dict[str, np.ndarray]:
    with FeatureStore(folder / "feats.h5") as store:
        return {u.id: store.packed(stream, [row_number]).values for row_number, u in enumerate(store.utterances)}


def test_unusual_names_are_extracted_and_read_back(tmp_path: Path, start: Start, trial: Trial) -> None:
    plain, unusual = tmp_path / "plain", tmp_path / "odd"
    for folder in (plain, unusual):
        (folder / "media").mkdir(parents=True)
    for number, (_, name) in enumerate(CASES):
        write_tone(plain / "media" / f"{number}.wav", number)
        media_path = unusual / "media" / f"{name}{'' if number % 2 else '.wav'}"
        media_path.parent.mkdir(exist_ok=True)
        shutil.copy(plain / "media" / f"{number}.wav", media_path)
    write_manifest(
        plain / "m.csv", [Utterance(id=f"u{n}", corpus="c", audio=f"{n}.wav", label="hap") for n in range(len(CASES))]
    )
    # Every third utterance uses its name as session, which is also the name of a folder.
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
        for n, (_, name) in enumerate(CASES)
    ]
    write_manifest(unusual / "m.csv", rows)
    for folder in (plain, unusual):
        run = start(folder, *EXTRACT, "--streams", "audio")
        assert run.finish() == 0, run.err
    verify = start(unusual, "verify", "features")
    assert verify.finish() == 0, verify.err
    inspect = start(unusual, "inspect", "--csv", "q.csv")
    assert inspect.finish() == 0, inspect.err
    rerun = start(unusual, *EXTRACT, "--streams", "audio")
    assert rerun.finish() == 0
    assert "All features are up to date." in rerun.out
    expected, actual = read_values(plain), read_values(unusual)
    with FeatureStore(unusual / "feats.h5") as store:
        assert {u.id: u for u in store.utterances} == {row.id: row for row in map(with_nfc_names, rows)}
    with (unusual / "q.csv").open(newline="", encoding="utf-8") as file:
        table = {line["id"]: line for line in csv.DictReader(file)}
    for kind in NAMES_BY_KIND:
        numbers = [n for n, (name_kind, _) in enumerate(CASES) if name_kind == kind]
        with trial(f"ids, paths and sessions with {kind}", "extracted, verified and read back", count=len(numbers)):
            for n in numbers:
                name = nfc(CASES[n][1])
                assert np.array_equal(actual[name], expected[f"u{n}"]), name
                assert table[name]["split"] == (name if n % 3 == 0 else "c")
                assert table[name]["audio:decoded"] == "1"
    assert len(actual) == len(CASES)


def test_empty_corpora_are_refused(tmp_path: Path, start: Start, trial: Trial) -> None:
    (tmp_path / "media").mkdir()
    header = "id,corpus,session,speaker,gender,label,audio,video,start,end,crop\n"
    (tmp_path / "m.csv").write_text(header)
    with trial("a manifest without rows", "refused with a message"):
        run = start(tmp_path, *EXTRACT)
        assert run.finish() == 1
        assert "m.csv: the manifest is empty" in run.err
    write_tone(tmp_path / "media" / "a.wav", 1)
    write_manifest(tmp_path / "m.csv", [Utterance(id="a", corpus="c", session="one", audio="a.wav")])
    with trial(
        "a session that the manifest does not contain", "refused with a message that lists the existing sessions"
    ):
        run = start(tmp_path, "extract", "-s", "two", "-m", "m.csv", "-r", "media")
        assert run.finish() == 2
        assert "the manifest has one" in run.err
    write_manifest(tmp_path / "m.csv", [Utterance(id=f"g{n}", corpus="c", audio=f"g{n}.wav") for n in range(5)])
    with trial("a corpus without any of its files", "refused; no index and no shard are written", count=5):
        run = start(tmp_path, *EXTRACT, "--streams", "audio")
        assert run.finish() == 1
        assert "but none of the 5 files exists below it; tried media/g0.wav" in run.err
        assert not (tmp_path / "feats.h5").exists()
        assert not list((tmp_path / "features").rglob("*.h5"))


MINUTES = 40
EXTRA_MEMORY = 1200 << 20
"""Bytes of a worker beyond those for one second of media; the waveform alone takes 150 MB at 16 kHz."""


def write_long_wav(path: Path, seconds: int) -> None:
    rng = np.random.default_rng(1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        second = (rng.normal(size=16000) * 3000).astype("<i2").tobytes()
        for _ in range(seconds):
            file.writeframesraw(second)


def write_long_video(path: Path, seconds: int, fps: int) -> None:
    image = np.random.default_rng(2).integers(0, 255, (48, 64, 3), np.uint8)
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=fps)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for _ in range(seconds * fps):
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode())


def peak_memory(run: Any, timeout: float) -> int:
    """Wait for a run to end and return the peak memory of its largest worker, in bytes."""
    peak = 0

    def watch() -> None:
        nonlocal peak
        while run.process.poll() is None:
            for worker in run.workers():
                with suppress(psutil.Error):
                    peak = max(peak, worker.memory_info().rss)
            time.sleep(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert run.finish(timeout=timeout) == 0, run.err
    watcher.join()
    return peak


@pytest.mark.parametrize("stream", ["audio", "face"])
def test_utterance_of_forty_minutes_needs_bounded_memory(
    tmp_path: Path, start: Start, trial: Trial, stream: str
) -> None:
    media = {"audio": "audio", "face": "video"}[stream]
    memory = []
    for seconds in (1, MINUTES * 60):
        folder = tmp_path / str(seconds)
        (folder / "media").mkdir(parents=True)
        write_long_wav(folder / "media" / "long.wav", seconds)
        write_long_video(folder / "media" / "long.avi", seconds, 2)
        write_manifest(folder / "m.csv", [Utterance(id="long", corpus="c", audio="long.wav", video="long.avi")])
        run = start(folder, *EXTRACT, "--streams", stream, "--fps", "1", "--no-index")
        memory.append(peak_memory(run, 900))
    with trial(
        f"one utterance of {MINUTES} minutes of {media}",
        f"extracted with at most {EXTRA_MEMORY >> 20} MiB more memory than one second",
    ):
        assert memory[1] < memory[0] + EXTRA_MEMORY, [size >> 20 for size in memory]
        index = start(folder, "index", "-m", "m.csv", "-r", "media", "--streams", stream)
        assert index.finish() == 0, index.err
        (long,) = read_values(folder, stream).values()
        rate = {"audio": 50, "face": 1}[stream]
        assert abs(len(long) - MINUTES * 60 * rate) <= 1


def test_thousand_utterances_of_one_file_get_their_own_segments(tmp_path: Path, start: Start, trial: Trial) -> None:
    (tmp_path / "media").mkdir()
    write_long_wav(tmp_path / "media" / "a.wav", 200)
    write_long_video(tmp_path / "media" / "a.avi", 200, 10)
    rows = [
        Utterance(id=f"u{n}", corpus="c", audio="a.wav", video="a.avi", start=n / 5, end=n / 5 + 0.2)
        for n in range(1000)
    ]
    write_manifest(tmp_path / "m.csv", rows)
    with trial(
        "a media file with a thousand utterances", "each utterance gets the features of its own segment", count=1000
    ):
        run = start(tmp_path, *EXTRACT, "--fps", "5")
        assert run.finish(timeout=600) == 0, run.err
        assert read_manifest(tmp_path / "m.csv") == rows
        with FeatureStore(tmp_path / "feats.h5") as store:
            assert [u.id for u in store.utterances] == [row.id for row in rows]
            assert set(store.lengths("face").tolist()) == {1}
            assert set(store.lengths("audio").tolist()) == {9}
            assert set(store.quality("audio")["decoded"].tolist()) == {1.0}
            assert set(store.quality("face")["decoded"].tolist()) == {1.0}
        features = read_values(tmp_path)
        # Each second repeats the first one, and an utterance lasts 0.2 s: every fifth utterance is the same.
        assert np.allclose(features["u3"], features["u998"], atol=1e-3)
        assert not np.allclose(features["u3"], features["u4"], atol=1e-3)
