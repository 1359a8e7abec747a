"""What is left to extract, where only the media know how long they are."""

import io
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from foal.extract.schedule.pending import pending_chunks
from foal.extract.schedule.stream_spec import recipe
from foal.shared.config.settings import Settings
from foal.shared.utterance import Utterance

Silent = Callable[[Path], AbstractContextManager[None]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Four files, of 1, 2, 3 and 4 seconds."""
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", np.zeros(16000 * (number + 1)), 16000)
    extract = {"features": str(tmp_path / "features"), "patience": 2.0, "chunk_seconds": 100, "modalities": ["audio"]}
    return Settings.model_validate({"corpus": {"root": str(tmp_path)}, "extract": extract})


def planned(settings: Settings, utterances: list[Utterance]) -> tuple[list[tuple[list[str], float]], str]:
    """The ids and seconds of each chunk, and what was said."""
    said = io.StringIO()
    console = Console(file=said, width=1000)
    chunks = pending_chunks(settings, utterances, [recipe(settings.extract, "audio")], console).chunks
    return [([u.id for u in chunk.utterances], round(chunk.seconds, 2)) for chunk in chunks], said.getvalue()


def test_the_media_say_how_long_they_are(settings: Settings) -> None:
    rows = [
        Utterance(id="whole", corpus="a", audio="0.wav"),
        Utterance(id="rest", corpus="b", audio="1.wav", start=0.5),
        Utterance(id="video", corpus="c", audio="0.wav", video="2.wav"),
        Utterance(id="hours", corpus="d", audio="3.wav", start=1.0, end=9000.0),
        Utterance(id="believed", corpus="e", audio="nowhere.wav", end=7.5),
        Utterance(id="missing", corpus="f", audio="nowhere.wav"),
    ]
    chunks, said = planned(settings, rows)
    assert {ids[0]: seconds for ids, seconds in chunks} == {
        "whole": 1.0,
        "rest": 1.5,
        "video": 3.0,
        "hours": 3.0,
        "believed": 7.5,
        "missing": 0.0,
    }
    assert "did not say" not in said


def test_a_file_that_does_not_say_is_tried_on_its_own(settings: Settings, tmp_path: Path, silent: Silent) -> None:
    rows = [Utterance(id=f"u{n}", corpus="c", audio=f"{n % 4}.wav", start=0.01 * n) for n in range(8)]
    rows.append(Utterance(id="known", corpus="c", audio="1.wav", end=1.0))
    with silent(tmp_path / "1.wav"):
        began = time.monotonic()
        chunks, said = planned(settings, rows)
        assert time.monotonic() - began < 30
    assert [ids for ids, _ in chunks] == [["u0", "u4", "u2", "u6", "u3", "u7"], ["u1", "u5", "known"]]
    assert "warning: 1 file did not say within 0 min 2 s how long it is (1.wav)" in said
    again, said = planned(settings, rows)
    assert [ids for ids, _ in again] == [["u0", "u4", "u1", "u5", "known", "u2", "u6", "u3", "u7"]]
    assert "did not say" not in said
