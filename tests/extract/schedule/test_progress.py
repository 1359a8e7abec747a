"""The progress of an extraction: an utterance is complete when all its streams are."""

import pytest

from foal.extract.schedule.failures import ChunkResult
from foal.extract.schedule.plan import Chunk
from foal.extract.schedule.progress import ProgressCounter, progress_display
from foal.shared.cli.console import start_console
from foal.shared.cli.logs import configure_logging
from foal.shared.utterance import Utterance


def chunk_of(stream: str, *ids: str) -> Chunk:
    utterances = tuple(Utterance(id=name, corpus="c", audio=f"{name}.wav", video=f"{name}.mp4") for name in ids)
    return Chunk(stream=stream, split="session1", utterances=utterances, seconds=60.0)


def test_an_utterance_is_complete_when_all_its_streams_are() -> None:
    chunks = [chunk_of("audio", "a", "b"), chunk_of("face", "a"), chunk_of("face", "b")]
    counter = ProgressCounter(chunks)
    assert (counter.total, counter.done) == (2, 0)
    done = []
    for chunk in chunks:
        counter.add(chunk, ChunkResult(frames=1, failures=()))
        done.append(counter.done)
    assert done == [0, 1, 2]
    assert counter.summary().endswith("media hours/hour, 0 failures")


def test_a_log_contains_only_the_last_count(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "")
    start_console()
    configure_logging()
    chunks = [chunk_of("audio", "a"), chunk_of("audio", "b")]
    counter = ProgressCounter(chunks)
    with progress_display(counter) as display:
        for chunk in chunks:
            counter.add(chunk, ChunkResult(frames=1, failures=()))
            display.advance()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("2/2 utterances, ")
    assert line.endswith("media hours/hour, 0 failures, elapsed 0 min 0 s")
