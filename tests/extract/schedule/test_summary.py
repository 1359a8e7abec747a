"""The table, the messages and the JSON line at the end of an extraction."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.table import Table

from foal.extract.media.channels import CANCELLED_NOTE
from foal.extract.schedule.failures import Failure
from foal.extract.schedule.stream_spec import build_stream_spec
from foal.extract.schedule.summary import ExtractResult, print_failures, print_index_result, print_summary, summarize
from foal.shared.config.settings import ExtractSettings, Settings
from foal.shared.store.catalog import Catalog, read_catalog
from foal.shared.store.index_writer import IndexResult
from foal.shared.utterance import Utterance


def cells(table: Table) -> list[list[str]]:
    return list(map(list, zip(*(column.cells for column in table.columns), strict=True)))


def test_features_are_counted_and_missing_utterances_are_listed(
    tmp_path: Path,
    make_features: Callable[..., Path],
    sample_utterances: list[Utterance],
    messages: pytest.LogCaptureFixture,
) -> None:
    settings = Settings()
    spec = build_stream_spec(settings.extract, "audio")
    features = make_features(tmp_path / "f", sample_utterances[1:], widths={"audio": 4}, key=spec.config_hash)
    catalog = read_catalog(features, "audio", spec.config_hash)
    (first, *_), *_ = catalog.located.values()
    key = next(key for key, locations in catalog.located.items() if locations[0] is first)
    catalog.located[key] = [replace(first, quality={"decoded": 0.5}, note=f"cut off; {CANCELLED_NOTE}")]
    summary = summarize(settings, sample_utterances, [spec], {"audio": catalog})
    assert [row[:4] for row in cells(summary.table)] == [
        ["session1", "audio", spec.header.encoder, "5/6"],
        ["session2", "audio", spec.header.encoder, "6/6"],
        ["session3", "audio", spec.header.encoder, "6/6"],
    ]
    frames = [
        sum(locations[0].length for (split, _), locations in catalog.located.items() if split == f"session{n}")
        for n in (1, 2, 3)
    ]
    assert [row[5] for row in cells(summary.table)] == [str(count) for count in frames]
    assert summary.missing == (("u0", "audio"),)
    assert summary.partial == summary.cancelled == (key[1],)
    print_summary(summary)
    assert [record.levelname for record in messages.records] == ["INFO", "WARNING"]
    assert f"cancel in their mean: 1 utterance ({key[1]}); take one channel" in messages.text


def test_whole_frames_warn_that_the_crops_are_not_used(tmp_path: Path, messages: pytest.LogCaptureFixture) -> None:
    extract = ExtractSettings.model_validate({"encoders": {"face/whole": {"region": "frame"}}})
    specs = [build_stream_spec(extract, stream) for stream in ("audio", "face", "face/whole")]
    catalogs = {spec.stream: Catalog() for spec in specs}
    crops = {"a": "left", "b": "full", "c": "0,0,1,1", "d": "0.5,0,1,1"}
    utterances = [Utterance(id=name, corpus="c", video=f"{name}.mp4", crop=crop) for name, crop in crops.items()]
    # Without a video there is nothing to crop.
    utterances.append(Utterance(id="e", corpus="c", audio="e.wav", crop="left"))
    settings = Settings(extract=extract)
    print_summary(summarize(settings, utterances, specs, catalogs))
    assert [record.message for record in messages.records if record.levelname == "WARNING"] == [
        "face/whole: region frame encodes the whole frame, with everyone in it, so that the column crop is not used "
        "for 2 utterances (a, d); region crop encodes the person's part alone"
    ]
    assert not summarize(settings, utterances, specs[:2], catalogs).warnings
    assert not summarize(settings, utterances[1:3], specs, catalogs).warnings


def test_failures_are_printed_up_to_a_limit(messages: pytest.LogCaptureFixture) -> None:
    failure = Failure(
        id="u",
        split="c",
        stream="face/clip",
        media="v.mp4",
        reason="no such file",
        remedy="",
        source="",
        fingerprint="",
    )
    print_failures([replace(failure, id=f"u{n}") for n in range(12)])
    assert messages.messages[0] == "failed: u0 (face/clip, v.mp4): no such file"
    assert len(messages.messages) == 11
    assert messages.messages[-1].startswith("12 utterances failed; the failures.csv of each session lists all")


def test_damaged_shards_and_utterances_without_features_are_reported(messages: pytest.LogCaptureFixture) -> None:
    result = IndexResult(
        path=Path("feats.h5"),
        utterances=3,
        not_extracted=("a", "b"),
        damaged={Path("x.h5"): "cut short"},
        changed=False,
    )
    print_index_result(result)
    assert [record.levelname for record in messages.records] == ["WARNING", "INFO", "INFO"]
    assert "x.h5: cut short" in messages.text
    assert "media changed: 2 utterances (a, b)" in messages.text
    assert "feats.h5: 3 utterances, unchanged" in messages.text


def test_the_result_is_converted_to_json() -> None:
    result = ExtractResult(
        exit_code=3,
        splits=("session1",),
        streams=("audio",),
        utterances=4,
        extracted=2,
        skipped=1,
        failed=1,
        pending=0,
        index="feats.h5",
        seconds=1.23456,
        dry_run=False,
    )
    assert result.as_json() == {
        "splits": ["session1"],
        "streams": ["audio"],
        "utterances": 4,
        "extracted": 2,
        "skipped": 1,
        "failed": 1,
        "pending": 0,
        "index": "feats.h5",
        "seconds": 1.235,
        "dry_run": False,
        "part": None,
    }
