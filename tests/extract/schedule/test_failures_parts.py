"""The failures of parts: each writes a file of its own, and merged they are what whole runs would have recorded."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foal.extract.schedule.failures import Failure, Quarantine, merge_part_failures
from foal.extract.schedule.plan import in_part
from foal.extract.schedule.stream_spec import build_stream_spec
from foal.shared.config.settings import ExtractSettings, Settings
from foal.shared.errors import UsageError
from foal.shared.files.part import Part
from foal.shared.utterance import Utterance

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
