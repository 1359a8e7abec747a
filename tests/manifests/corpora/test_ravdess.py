"""The manifest of RAVDESS."""

from collections.abc import Callable
from pathlib import Path

from foal.manifests.corpora import ravdess

Touch = Callable[..., Path]


def test_spoken_clips_become_utterances_and_other_clips_are_counted(touch: Touch, tmp_path: Path) -> None:
    touch(
        "Actor_16/01-01-05-01-02-01-16.mp4",
        "Actor_01/01-01-01-01-02-01-01.mp4",
        "Actor_01/02-01-01-01-02-01-01.mp4",
        "Actor_01/01-02-03-01-02-01-01.mp4",
        "Actor_01/01-01-09-01-02-01-01.mp4",
        "Actor_01/01-01-08-01-02-01-25.mp4",
    )
    result = ravdess.build(tmp_path)
    assert [(u.id, u.label, u.speaker, u.gender) for u in result.utterances] == [
        ("01-01-01-01-02-01-01", "neu", "actor01", "M"),
        ("01-01-05-01-02-01-16", "ang", "actor16", "F"),
    ]
    assert len(result.warnings) == 2
    assert sorted(result.notes) == [
        "files not taken: 1 .mp4 (songs)",
        "files not taken: 1 .mp4 (the picture is in the file with sound, too)",
    ]


def test_sound_alone_becomes_utterances_without_a_picture(touch: Touch, tmp_path: Path) -> None:
    touch(*(f"Actor_01/03-01-0{emotion}-01-01-01-01.wav" for emotion in range(1, 9)))
    result = ravdess.build(tmp_path)
    assert [(u.id[:8], u.label, u.audio != "", u.video) for u in result.utterances] == [
        (f"03-01-0{n}", label, True, "") for n, label in enumerate(ravdess.CLASSES, start=1)
    ]
    assert result.notes == ["no picture at all: extract with --streams audio and train with --modalities audio"]


def test_sound_and_picture_of_a_clip_are_one_utterance(touch: Touch, tmp_path: Path) -> None:
    touch(
        "video/01-01-01-01-01-01-01.mp4",
        "audio/03-01-01-01-01-01-01.wav",
        "video/02-01-02-01-01-01-01.mp4",
        "audio/03-01-03-01-01-01-01.wav",
    )
    result = ravdess.build(tmp_path)
    assert [(u.id, u.audio, u.video) for u in result.utterances] == [
        ("01-01-01-01-01-01-01", "audio/03-01-01-01-01-01-01.wav", "video/01-01-01-01-01-01-01.mp4"),
        ("03-01-03-01-01-01-01", "audio/03-01-03-01-01-01-01.wav", ""),
        ("02-01-02-01-01-01-01", "", "video/02-01-02-01-01-01-01.mp4"),
    ]
    assert result.notes == [
        "1 of 3 utterances have no picture and keep the other",
        "1 of 3 utterances have no sound and keep the other",
    ]
