"""The manifest of SAVEE."""

from collections.abc import Callable
from pathlib import Path

from foal.manifests.corpora import savee

Touch = Callable[..., Path]


def test_speakers_are_folders_or_prefixes_and_sound_belongs_to_its_picture(touch: Touch) -> None:
    root = touch(
        "AudioData/DC/a01.wav",
        "AudioVisualClip/DC/a01.avi",
        "AudioVisualClip/JE/su15.avi",
        "ALL/KL_sa02.wav",
        "AudioData/readme.wav",
    )
    result = savee.build(root)
    assert [(u.id, u.label, u.audio, u.video) for u in result.utterances] == [
        ("DC_a01", "ang", "AudioData/DC/a01.wav", "AudioVisualClip/DC/a01.avi"),
        ("JE_su15", "sur", "AudioVisualClip/JE/su15.avi", "AudioVisualClip/JE/su15.avi"),
        ("KL_sa02", "sad", "ALL/KL_sa02.wav", ""),
    ]
    assert {(u.speaker, u.gender) for u in result.utterances} == {("DC", "M"), ("JE", "M"), ("KL", "M")}
    assert result.warnings == ["AudioData/readme.wav: expected a name such as DC/a01.wav or DC_a01.wav; skipped"]
    assert result.notes == [
        "3 clips, NOT equal to the published 480",
        "1 of 3 utterances have no picture and keep the other",
    ]


def test_a_second_copy_of_a_clip_is_counted(touch: Touch) -> None:
    result = savee.build(touch("AudioData/DC/n01.wav", "ALL/DC_n01.wav"))
    assert [u.label for u in result.utterances] == ["neu"]
    assert result.notes[-1] == "files not taken: 1 .wav (another file holds the same clip)"
