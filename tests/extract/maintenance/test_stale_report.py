"""What `foal index` says about stale rows and unused shards."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from foal.extract.maintenance.row_states import CHANGED_ROW, CURRENT, NEWER
from foal.extract.maintenance.stale import StaleReport, find_stale
from foal.extract.maintenance.stale_report import report_stale
from foal.shared.files.media_state import MediaFingerprints, MediaState
from foal.shared.utterance import Utterance

CONFIG, OLD = "a" * 64, "b" * 64


def test_every_state_has_its_count_ids_and_remedy(messages: pytest.LogCaptureFixture) -> None:
    ids: dict[str, Sequence[str]] = {
        CURRENT: ["a"],
        MediaState.TIME_ONLY: ["b"],
        MediaState.TIME: ["c"],
        MediaState.CONTENT: [f"d{n}" for n in range(7)],
        CHANGED_ROW + "start, end": ["e"],
        NEWER: ["f"],
    }
    report_stale(StaleReport(stale=(), ids={"audio-aaaaaaaa": ids}), Path("m.csv"))
    start = "stale: audio-aaaaaaaa: "
    lines = [record.getMessage() for record in messages.records]
    assert lines[0].startswith("accepted: audio-aaaaaaaa: time only: 1 utterance (b); ")
    assert lines[1] == f"{start}10 of 12 rows are no longer current"
    assert f"{start}manifest row changed: start, end: 1 utterance (e); `foal extract` extracts them again" in lines
    content = "media changed: content: 7 utterances (d0, d1, d2, d3, d4, ...); `foal extract` extracts them again"
    assert start + content in lines
    assert any(line.startswith(f"{start}media changed: time: 1 utterance (c); their shards have no") for line in lines)
    assert f"{start}superseded by a newer shard: 1 utterance (f); they are in newer shards; nothing is missing" in lines


def test_unused_shards_are_compared_with_those_in_use(
    tmp_path: Path,
    make_features: Callable[..., Path],
    sample_utterances: list[Utterance],
    messages: pytest.LogCaptureFixture,
) -> None:
    features = make_features(tmp_path / "features", sample_utterances, widths={"audio": 8}, key=CONFIG)
    make_features(features, sample_utterances, widths={"audio": 4}, key=OLD)
    report = find_stale(features, sample_utterances, {"audio": CONFIG}, MediaFingerprints(tmp_path))
    report_stale(report, tmp_path / "m.csv")
    assert "not in the index: audio-bbbbbbbb: 3 shards of another configuration, " in messages.text
    assert "(width 4, in use 8)" in messages.text
    assert "stale:" not in messages.text
