"""The manifest of a corpus with one subfolder per label."""

from collections.abc import Callable
from pathlib import Path

import pytest

from foal.manifests import label_folders
from foal.shared.errors import UsageError

Touch = Callable[..., Path]


def test_each_subfolder_is_a_label(touch: Touch, tmp_path: Path) -> None:
    touch(*(f"{label}/s{n}_take.mp4" for label in ("joy", "fear") for n in range(6)), "joy/s0_take.wav")
    result = label_folders.build(tmp_path)
    assert {utterance.label for utterance in result.utterances} == {"joy", "fear"}
    assert "speakers unknown" in result.notes[0]
    first = next(utterance for utterance in result.utterances if utterance.id == "joy/s0_take")
    assert (first.audio, first.video) == ("joy/s0_take.wav", "joy/s0_take.mp4")

    known = label_folders.build(tmp_path, speaker=r"^(s\d+)_")
    assert not known.notes
    assert len({(utterance.fold, utterance.speaker) for utterance in known.utterances}) == 6


@pytest.mark.parametrize("pattern", ["^(?:s1|(s[2-9]))_", "^(s[2-9])?", "^(s[2-9]|)"])
def test_a_file_without_a_speaker_is_skipped(touch: Touch, tmp_path: Path, pattern: str) -> None:
    touch("joy/s1_a.mp4", "joy/s2_a.mp4", "fear/s3_a.mp4")
    result = label_folders.build(tmp_path, speaker=pattern)
    assert [utterance.speaker for utterance in result.utterances] == ["s3", "s2"]
    assert list(result.warnings) == [f"joy/s1_a: the name does not match the speaker pattern {pattern!r}; skipped"]


@pytest.mark.parametrize("pattern", ["(", "no group"])
def test_an_invalid_speaker_pattern_is_refused(touch: Touch, tmp_path: Path, pattern: str) -> None:
    with pytest.raises(UsageError, match="--speaker"):
        label_folders.build(touch("joy/a.mp4"), speaker=pattern)


def test_a_second_video_of_the_same_name_is_skipped(touch: Touch) -> None:
    result = label_folders.build(touch("joy/a.mp4", "joy/a.mkv", "joy/a.wav"))
    (utterance,) = result.utterances
    assert (utterance.audio, utterance.video) == ("joy/a.wav", "joy/a.mkv")
    assert result.warnings == ["joy/a.mp4: duplicate of the video file joy/a.mkv; skipped"]
