"""failures.csv: failed utterances are retried only after a change, and too many failures end a run.

Each part writes a file of its own, and merged they are what whole runs would have recorded.
"""

import csv
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from foal.extract.schedule.failures import Failure, Quarantine, merge_part_failures
from foal.extract.schedule.plan import in_part
from foal.extract.schedule.stream_spec import build_stream_spec
from foal.shared.config.settings import ExtractSettings, Settings
from foal.shared.errors import FoalError, UsageError
from foal.shared.files.part import Part
from foal.shared.manifest import write_manifest
from foal.shared.store.feature_store import FeatureStore
from foal.shared.utterance import Utterance, split_folder

Foal = Callable[..., "subprocess.CompletedProcess[str]"]


def rows(count: int, *, files: int) -> tuple[Utterance, ...]:
    return tuple(
        Utterance(id=f"u{number}", corpus="c", audio=f"{number % files}.wav", start=float(number), end=number + 1.0)
        for number in range(count)
    )


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Eight files: five tones and three text files."""
    root = tmp_path / "media"
    root.mkdir()
    for number in range(8):
        soundfile.write(root / f"{number}.wav", np.sin(np.arange(8000) / (5 + number)) / 3, 16000)
    for number in (1, 4, 6):
        (root / f"{number}.wav").write_text("no sound\n" * 9)
    write_manifest(
        tmp_path / "m.csv",
        [Utterance(id=f"u{n}", corpus="c", label="hap", audio=f"{n}.wav", end=0.5) for n in range(8)],
    )
    return tmp_path


@pytest.fixture
def extract(foal_here: Foal, corpus: Path, scheduler: str) -> Foal:
    command = ["extract", "-s", "all", "-m", "m.csv", "-r", "media", "--streams", "audio", "--chunk-seconds", "1"]

    def run(*options: str | Path) -> "subprocess.CompletedProcess[str]":
        return foal_here(*command, "--scheduler", scheduler, *options)

    return run


def failures(corpus: Path) -> dict[str, dict[str, str]]:
    with (corpus / "features" / "c" / "failures.csv").open(newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


@pytest.mark.slow
def test_failed_utterances_are_retried_only_after_a_change(corpus: Path, extract: Foal) -> None:
    done = extract()
    assert done.returncode == 3, done.stderr
    assert set(failures(corpus)) == {"u1", "u4", "u6"}
    before = (corpus / "features" / "c" / "failures.csv").read_text()

    repeated = extract()
    assert repeated.returncode == 3
    assert "5 of 8 utterances already extracted, 3 failed before (--retry-failed retries them)" in repeated.stdout
    assert "Nothing is left to extract but 3 utterances (u1, u4, u6), which failed before." in repeated.stdout
    assert (corpus / "features" / "c" / "failures.csv").read_text() == before

    retried = extract("--retry-failed")
    assert retried.returncode == 3
    assert "Nothing is left to extract" not in retried.stdout
    assert set(failures(corpus)) == {"u1", "u4", "u6"}

    shutil.copy(corpus / "media" / "0.wav", corpus / "media" / "4.wav")
    repaired = extract()
    assert repaired.returncode == 3
    assert set(failures(corpus)) == {"u1", "u6"}
    with FeatureStore(corpus / "feats.h5") as store:
        assert {utterance.id for utterance in store.utterances} == {"u0", "u2", "u3", "u4", "u5", "u7"}

    # Another encoder is applied to all files, and its failures do not replace the recorded ones.
    other = extract("--set", "extract.seed=1")
    assert "Nothing is left to extract" not in other.stdout
    assert set(failures(corpus)) == {"u1", "u6"}


@pytest.mark.slow
def test_a_corrupt_failure_list_quarantines_nothing(corpus: Path, extract: Foal) -> None:
    extract()
    path = corpus / "features" / "c" / "failures.csv"
    for content in (b"", b"id,split\nu1,c\n", b"\x00\x01", b"id,id,id\n1,2,3,4,5\n", "é".encode("latin-1")):
        path.write_bytes(content)
        assert extract().returncode == 3, content
        assert set(failures(corpus)) == {"u1", "u4", "u6"}, content


@pytest.mark.slow
@pytest.mark.parametrize(("allowed", "code"), [("2", 1), ("3", 3), ("30%", 1), ("37.5%", 3), ("0", 1)])
def test_too_many_failures_end_the_run(corpus: Path, extract: Foal, allowed: str, code: int) -> None:
    done = extract("--max-failures", allowed)
    assert done.returncode == code, done.stderr
    if code == 1:
        assert f"more than --max-failures {allowed} allows" in done.stderr
        assert failures(corpus)
        # A second run gives the same result.
        assert extract("--max-failures", allowed).returncode == 1
        assert extract().returncode == 3


@pytest.mark.parametrize("limit", ["-1", "many", "101%", "5 %", "1e3", ""])
def test_an_invalid_failure_limit_is_reported_with_its_setting(corpus: Path, extract: Foal, limit: str) -> None:
    done = extract(f"--max-failures={limit}")
    assert done.returncode == 2
    assert "extract.max_failures" in done.stderr


def test_a_folder_named_failures_csv_is_reported_before_the_run(corpus: Path, foal_here: Foal) -> None:
    path = corpus / "features" / "c" / "failures.csv"
    path.mkdir(parents=True)
    command = ["extract", "-s", "all", "-m", "m.csv", "-r", "media", "--streams", "audio"]
    for options in ([], ["--dry-run"]):
        done = foal_here(*command, *options)
        assert done.returncode == 2
        assert "failures.csv: exists and is not a list of failures" in done.stderr
        assert "move or delete it" in done.stderr
    assert [*corpus.glob("features/*/*")] == [path]


@pytest.mark.parametrize("failed", [False, True])
def test_a_folder_that_appears_as_failures_csv_during_the_run_is_reported(tmp_path: Path, failed: bool) -> None:
    utterances = rows(1, files=1)
    quarantine = Quarantine(Settings(extract=ExtractSettings(features_dir=tmp_path)), utterances)
    failure = Failure(
        id="u0",
        split=utterances[0].split,
        stream="audio",
        media="0.wav",
        reason="r",
        remedy="m",
        source="s",
        fingerprint="",
    )
    path = tmp_path / split_folder(failure.split) / "failures.csv"
    path.mkdir(parents=True)
    with pytest.raises(FoalError, match=f"{path}: cannot be (written|removed)"):
        quarantine.write([failure] * failed, {"audio": "0" * 64})
    assert path.is_dir()


CORPUS = [Utterance(id=f"u{n}", session=f"s{n % 2}", audio=f"{n // 4}.wav", end=1.0) for n in range(24)]
Runs = list[tuple[Part | None, str, set[int]]]


def settings_for(features: Path) -> Settings:
    return Settings(extract=ExtractSettings(features_dir=features))


def members_of(part: Part | None) -> list[Utterance]:
    return [utterance for utterance in CORPUS if part is None or in_part(utterance, part)]


def record(features: Path, part: Part | None, failed: Sequence[str], stream: str = "audio") -> None:
    """What a run records that extracts one stream of a part, or of everything, and in which some utterances fail."""
    members = members_of(part)
    failures = [
        Failure(
            id=utterance.id,
            split=utterance.split,
            stream=stream,
            media=utterance.audio,
            reason="damaged",
            remedy="repair it",
            source=utterance.source("audio"),
            fingerprint="1:1",
        )
        for utterance in members
        if utterance.id in failed
    ]
    Quarantine(settings_for(features), members, part).write(failures, {stream: "0" * 64})


def listed(features: Path, name: str = "failures.csv") -> set[tuple[str, str]]:
    rows = set()
    for path in features.glob(f"*/{name}"):
        with path.open(newline="") as file:
            rows |= {(row["id"], row["stream"]) for row in csv.DictReader(file)}
    return rows


@st.composite
def runs(draw: st.DrawFn) -> Runs:
    parts = st.sampled_from([None, *(Part(number=n, count=count) for count in (2, 3) for n in range(1, count + 1))])
    failing = st.sets(st.integers(0, len(CORPUS) - 1))
    return draw(st.lists(st.tuples(parts, st.sampled_from(["audio", "face"]), failing), max_size=6))


@settings(max_examples=20)
@given(runs())
def test_merged_failures_of_parts_are_those_of_whole_runs(history: Runs) -> None:
    expected: set[tuple[str, str]] = set()
    with TemporaryDirectory() as folder:
        features = Path(folder)
        for number, (part, stream, failing) in enumerate(history):
            members = {utterance.id for utterance in members_of(part)}
            failed = {f"u{n}" for n in failing} & members
            record(features, part, sorted(failed), stream)
            expected = {row for row in expected if row[0] not in members or row[1] != stream}
            expected |= {(utterance_id, stream) for utterance_id in failed}
            # The clock of a file system is too coarse for runs of a millisecond.
            for path in features.glob("*/failures*"):
                if path.stat().st_mtime > 1000:
                    os.utime(path, (number, number))
        merge_part_failures(settings_for(features), CORPUS)
        assert listed(features) == expected
        assert not list(features.glob("*/failures.part-*"))


def test_a_part_leaves_the_files_of_others_alone_and_clears_its_own_failures(tmp_path: Path) -> None:
    first, second = (Part(number=number, count=2) for number in (1, 2))
    one, two = (members_of(part)[0].id for part in (first, second))
    record(tmp_path, None, [one, two])
    before = {path: path.read_bytes() for path in tmp_path.glob("*/failures.csv")}
    record(tmp_path, first, [])
    assert {path: path.read_bytes() for path in tmp_path.glob("*/failures.csv")} == before
    assert listed(tmp_path, "failures.part-1-of-2.csv") == set()
    record(tmp_path, second, [two])
    assert listed(tmp_path, "failures.part-2-of-2.csv") == {(two, "audio")}
    written = merge_part_failures(settings_for(tmp_path), CORPUS)
    assert listed(tmp_path) == {(two, "audio")}
    assert {path.parent for path in written} == {tmp_path / u.split for u in CORPUS if u.id == two}
    assert merge_part_failures(settings_for(tmp_path), CORPUS) == []


def test_a_part_knows_what_failed_in_whole_runs_and_in_parts_of_another_number(tmp_path: Path) -> None:
    quarter = Part(number=1, count=4)
    utterance = members_of(quarter)[0]
    spec = build_stream_spec(ExtractSettings(), "audio")
    for part in (None, next(p for n in (1, 2) if in_part(utterance, p := Part(number=n, count=2)))):
        record(tmp_path, part, [utterance.id])
        quarantine = Quarantine(settings_for(tmp_path), members_of(quarter), quarter)
        assert [u.id for u in members_of(quarter) if quarantine.retry_reason(u, spec)] == [utterance.id]
        for path in tmp_path.glob("*/failures.csv"):
            path.unlink()


def test_a_part_without_failures_writes_no_file(tmp_path: Path) -> None:
    record(tmp_path, Part(number=1, count=2), [])
    assert not list(tmp_path.iterdir())


def test_a_folder_with_the_name_of_the_list_of_a_part_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s0" / "failures.part-1-of-1.csv").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"failures.part-1-of-1.csv: exists and is not a list of failures"):
        record(tmp_path, Part(number=1, count=1), [])
