"""The manifest of RAVDESS."""

from collections.abc import Callable
from pathlib import Path

from foal.manifests import ravdess

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
    assert sorted(result.notes) == ["1 file skipped: no audio", "1 file skipped: songs"]
