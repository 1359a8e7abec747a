"""The manifest of a corpus with one subfolder per label."""

from collections.abc import Callable
from pathlib import Path

import pytest

from foal.manifests.corpora import label_folders
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


def test_media_folders_below_a_label_are_no_part_of_the_name(touch: Touch) -> None:
    root = touch(
        *(
            f"{label}/{kind}/s{n}.{suffix}"
            for label in ("joy", "fear")
            for n in range(6)
            for kind, suffix in (("audio", "wav"), ("video", "mp4"))
        )
    )
    result = label_folders.build(root)
    assert len(result.utterances) == 12
    first = next(utterance for utterance in result.utterances if utterance.id == "joy/s0")
    assert (first.audio, first.video) == ("joy/audio/s0.wav", "joy/video/s0.mp4")
    # The names occur under both labels: they are named, and in one fold.
    assert result.notes[1].startswith("names that occur more than once: 6, each kept in one fold (fear/s0, joy/s0;")
    assert len({(u.id.partition("/")[2], u.fold) for u in result.utterances}) == 6


@pytest.mark.parametrize("names", [("audio/joy/a.wav", "video/joy/a.mp4"), ("joy/a/audio.wav", "joy/a/video.mp4")])
def test_other_places_of_sound_and_picture(touch: Touch, names: tuple[str, str]) -> None:
    (utterance,) = label_folders.build(touch(*names)).utterances
    assert (utterance.id, utterance.label, utterance.audio, utterance.video) == ("joy/a", "joy", *names)


def test_sound_and_picture_may_differ_in_case_and_unicode_form(touch: Touch) -> None:
    root = touch("joy/Clip1.MP4", "joy/clip1.wav", "joy/cafe\u0301.mp4", "joy/caf\u00e9.wav")
    result = label_folders.build(root)
    assert [(u.id, u.audio != u.video) for u in result.utterances] == [("joy/Clip1", True), ("joy/caf\u00e9", True)]


def test_names_that_differ_in_case_only_remain_two_utterances_of_one_fold(touch: Touch) -> None:
    result = label_folders.build(touch("joy/a.mp4", "joy/A.mp4", "joy/a.wav", "joy/b.mp4"))
    assert [u.id for u in result.utterances] == ["joy/A", "joy/a", "joy/b"]
    assert result.utterances[0].fold == result.utterances[1].fold
    assert result.notes[1] == "names that occur more than once: 1, each kept in one fold (joy/A, joy/a)"


def test_folders_of_folds_are_no_labels(touch: Touch) -> None:
    root = touch(*(f"{fold}/{label}/{fold}{label}.mp4" for fold in ("Train", "valid", "test") for label in "ab"))
    touch("extra/x.mp4")
    result = label_folders.build(root)
    assert result.classes == ["a", "b"]
    assert {u.id: u.fold for u in result.utterances} == {
        f"{role}/{label}/{fold}{label}": role
        for fold, role in (("Train", "train"), ("valid", "dev"), ("test", "test"))
        for label in "ab"
    }
    assert result.warnings == ["extra: beside folders of folds such as train and test; 1 media file in them not taken"]
    assert result.notes == [
        "files not taken: 1 .mp4 (outside of the folders of the folds)",
        "folds: the folders dev, test, train of the corpus",
    ]


def test_a_fold_without_a_class_is_named(touch: Touch) -> None:
    result = label_folders.build(touch("train/joy/a.mp4", "train/fear/b.mp4", "test/joy/c.mp4"))
    assert result.warnings == ["test: has no utterance of fear; its scores leave them out"]


def test_labels_that_differ_in_case_are_named_and_merged_on_request(touch: Touch) -> None:
    root = touch("Joy/a.mp4", "Joy/b.mp4", "joy/c.mp4", "fear/d.mp4")
    result = label_folders.build(root)
    assert result.classes == ["Joy", "fear", "joy"]
    assert result.warnings[0] == (
        "labels that differ only in case or spaces: 'Joy' 2, 'joy' 1; --normalize-labels merges them"
    )
    merged = label_folders.build(root, normalize_labels=True)
    assert merged.classes == ["Joy", "fear"]
    assert {u.id: u.label for u in merged.utterances}["Joy/c"] == "Joy"
