"""The pending chunks, and the durations of utterances without `end`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from foal.extract.media.probe import Probe, probe
from foal.extract.schedule.failures import Failure, Quarantine
from foal.extract.schedule.pending import pending_chunks
from foal.extract.schedule.stream_spec import build_stream_spec
from foal.shared.config.settings import Settings
from foal.shared.utterance import Utterance


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a corpus of four files of 1, 2, 3 and 4 seconds."""
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", np.zeros(16000 * (number + 1)), 16000)
    extract = {"features_dir": str(tmp_path / "features"), "chunk_seconds": 100, "streams": ["audio"]}
    return Settings.model_validate({"corpus": {"root": str(tmp_path)}, "extract": extract})


def test_durations_come_from_the_manifest_or_from_the_media(settings: Settings) -> None:
    utterances = [
        Utterance(id="whole", corpus="a", audio="0.wav"),
        Utterance(id="rest", corpus="b", audio="1.wav", start=0.5),
        Utterance(id="video", corpus="c", audio="0.wav", video="2.wav"),
        Utterance(id="hours", corpus="d", audio="3.wav", start=1.0, end=9000.0),
        Utterance(id="manifest", corpus="e", audio="nowhere.wav", end=7.5),
        Utterance(id="missing", corpus="f", audio="nowhere.wav"),
    ]
    chunks = pending_chunks(settings, utterances, [build_stream_spec(settings.extract, "audio")]).chunks
    assert {chunk.utterances[0].id: round(chunk.seconds, 2) for chunk in chunks} == {
        "whole": 1.0,
        "rest": 1.5,
        "video": 3.0,
        "hours": 3.0,
        "manifest": 7.5,
        "missing": 0.0,
    }
    assert [chunk.seconds for chunk in chunks] == sorted((chunk.seconds for chunk in chunks), reverse=True)


def test_chunks_are_longer_where_much_is_left_unless_their_length_is_set(settings: Settings) -> None:
    """100 hours in files of one minute each: at most 2,000 chunks, or of the length in the settings."""
    utterances = [
        Utterance(id=f"u{n}", corpus=f"c{n % 2}", audio=f"{n}.wav", start=0.0, end=60.0, transcript="It rained.")
        for n in range(6000)
    ]

    def planned(chunk_seconds: float, count: int = 6000, **audio: object) -> list[float]:
        extract = settings.extract.model_dump() | {"chunk_seconds": chunk_seconds, "audio": audio}
        changed = Settings.model_validate({"corpus": settings.corpus, "extract": extract, "cluster": {"device": "cpu"}})
        specs = [build_stream_spec(changed.extract, "audio")]
        return [chunk.seconds for chunk in pending_chunks(changed, utterances[:count], specs).chunks]

    assert planned(0) == [180.0] * 2000
    assert planned(0, layers=[0, 1, 2]) == [180.0] * 2000
    assert planned(0, count=60) == [60.0] * 60
    assert planned(120.0) == [120.0] * 3000


def test_the_lengths_of_files_are_read_once(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    utterances = [Utterance(id=f"u{n}", corpus="c", audio=f"{n}.wav") for n in range(4)]
    specs = [build_stream_spec(settings.extract, "audio")]
    (settings.extract.features_dir / "c").mkdir(parents=True)

    def seconds() -> float:
        (chunk,) = pending_chunks(settings, utterances, specs).chunks
        return chunk.seconds

    assert seconds() == pytest.approx(10)
    probed: list[str] = []

    def recorded(path: Path) -> Probe:
        probed.append(path.name)
        return probe(path)

    monkeypatch.setattr("foal.extract.schedule.pending.probe", recorded)
    assert seconds() == pytest.approx(10)
    assert probed == []
    soundfile.write(tmp_path / "3.wav", np.zeros(16000 * 7), 16000)
    assert seconds() == pytest.approx(13)
    assert probed == ["3.wav"]


def test_extracted_and_failed_utterances_are_not_planned_again(
    settings: Settings,
    tmp_path: Path,
    make_features: Callable[..., Path],
    messages: pytest.LogCaptureFixture,
) -> None:
    utterances = [Utterance(id=f"u{n}", corpus="c", audio=f"{n}.wav", end=1.0) for n in range(4)]
    spec = build_stream_spec(settings.extract, "audio")
    # Features without a media fingerprint count for any file.
    absent = [replace(utterance, audio="absent.wav") for utterance in utterances[:1]]
    make_features(tmp_path / "features", absent, widths={"audio": 4}, key=spec.config_hash)
    selected = [*absent, *utterances[1:]]
    quarantine = Quarantine(settings, selected)
    failure = Failure(
        id="u1",
        split="c",
        stream="audio",
        media="1.wav",
        reason="unreadable",
        remedy="repair it",
        source=utterances[1].source("audio"),
        fingerprint=quarantine.fingerprint("1.wav"),
    )
    quarantine.write([failure], {"audio": spec.config_hash})
    pending = pending_chunks(settings, selected, [spec], Quarantine(settings, selected))
    assert [u.id for chunk in pending.chunks for u in chunk.utterances] == ["u2", "u3"]
    assert [known.reason for known in pending.known_failures] == ["unreadable"]
    location = pending.catalogs["audio"].find(absent[0], "audio")
    assert location is not None
    assert location.row == 0
    assert "1 of 4 utterances already extracted, 1 failed before (--retry-failed retries them)" in messages.text
    retried = pending_chunks(settings, selected, [spec])
    assert [u.id for chunk in retried.chunks for u in chunk.utterances] == ["u1", "u2", "u3"]
