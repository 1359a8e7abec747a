"""Results for the utterances of an unreadable or missing media file."""

from pathlib import Path
from typing import Any

import pytest

from foal.extract.media.media_group import MediaGroup, as_media_error, check_times
from foal.shared.errors import MediaError
from foal.shared.store.shard import Entry
from foal.shared.utterance import Utterance

UTTERANCES = [Utterance(id=name, corpus="c", video="v.mp4", start=start) for name, start in (("a", 1.5), ("b", None))]


def group(modality: str = "face") -> MediaGroup:
    return MediaGroup(modality=modality, path=Path("v.mp4"), fingerprint="f", utterances=UTTERANCES)


def test_empty_entries_have_no_frames_and_the_note() -> None:
    results = list(group().empty_entries((3, 4), "no video track"))
    assert [utterance.id for utterance, _ in results] == ["a", "b"]
    for (utterance, entry), origin in zip(results, (1.5, 0.0), strict=True):
        assert isinstance(entry, Entry)
        assert entry.values.shape == (0, 3, 4)
        assert entry.note == "no video track"
        assert entry.media == "f"
        assert entry.source == utterance.source("face")
        assert entry.origin == origin


def test_an_error_fails_all_utterances_of_the_file() -> None:
    results = list(group().error_results(ZeroDivisionError("by zero\nand more")))
    assert [str(error) for _, error in results] == ["cannot be processed (ZeroDivisionError: by zero)"] * 2
    error = MediaError("damaged")
    assert as_media_error(error) is error


def test_the_note_contains_the_missing_modality() -> None:
    assert group("face").missing_note == "no video in the manifest"
    assert group("audio").missing_note == "no audio in the manifest"


@pytest.mark.parametrize("times", [{"start": 0.0, "end": 1e300}, {"start": 1e300, "end": 1e301}, {"end": 3e9}])
def test_times_outside_the_recording_are_refused(times: dict[str, Any]) -> None:
    with pytest.raises(MediaError, match="correct it in the manifest"):
        check_times(Utterance(id="u", corpus="c", **times))
    check_times(Utterance(id="u", corpus="c", start=0.0, end=36_000.0))
