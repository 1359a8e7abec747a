"""Chunks of a run on the workers of a scheduler: shards, failures, and the failure limit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from foal.extract.schedule.execute import run_chunks
from foal.extract.schedule.failures import Failure, Quarantine
from foal.extract.schedule.plan import Chunk
from foal.extract.schedule.stream_spec import build_stream_spec
from foal.shared.config.settings import Settings
from foal.shared.errors import FoalError
from foal.shared.store.shard import ShardReader
from foal.shared.utterance import Utterance


@pytest.fixture
def utterances(tmp_path: Path) -> list[Utterance]:
    """Three utterances of one second each; the last is unreadable."""
    for number in (0, 1):
        soundfile.write(tmp_path / f"{number}.wav", np.sin(np.arange(16000) / (5 + number)) / 3, 16000)
    (tmp_path / "2.wav").write_text("no sound")
    return [Utterance(id=f"u{n}", corpus="c", audio=f"{n}.wav", end=1.0) for n in range(3)]


def run(
    folder: Path, scheduler: str, utterances: list[Utterance], failures: list[Failure], **extract: Any
) -> dict[str, list[Path]]:
    settings = Settings.model_validate(
        {
            "corpus": {"root": folder},
            "extract": {"features_dir": folder / "features", **extract},
            "cluster": {"scheduler": scheduler},
        }
    )
    chunks = [Chunk(stream="audio", split="c", utterances=(utterance,), seconds=1.0) for utterance in utterances]
    spec = build_stream_spec(settings.extract, "audio")
    return run_chunks(settings, chunks, [spec], Quarantine(settings, utterances), failures, len(utterances))


def test_each_chunk_becomes_a_shard_and_failures_are_collected(
    tmp_path: Path, scheduler: str, utterances: list[Utterance]
) -> None:
    failures: list[Failure] = []
    written = run(tmp_path, scheduler, utterances, failures)
    assert [failure.id for failure in failures] == ["u2"]
    assert list(written) == ["audio"]
    names = []
    for path in written["audio"]:
        assert path.is_relative_to(tmp_path / "features" / "c")
        with ShardReader(path) as shard:
            names += shard.ids
    assert sorted(names) == ["u0", "u1"]


def test_the_run_ends_at_the_failure_limit(tmp_path: Path, scheduler: str, utterances: list[Utterance]) -> None:
    failures: list[Failure] = []
    with pytest.raises(FoalError, match="1 of 3 utterances failed, more than --max-failures 0 allows"):
        run(tmp_path, scheduler, utterances, failures, max_failures=0)
    assert [failure.id for failure in failures] == ["u2"]
