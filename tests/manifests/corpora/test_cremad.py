"""The manifest of CREMA-D."""

from collections.abc import Callable
from pathlib import Path

import pytest

from foal.manifests.corpora import cremad
from foal.shared.errors import ManifestError

Touch = Callable[..., Path]


def test_clips_become_utterances_with_speaker_label_and_fold(touch: Touch, tmp_path: Path) -> None:
    touch(*(f"VideoFlash/{1001 + n}_DFA_{e}_XX.flv" for n in range(7) for e in ("ANG", "HAP", "NEU")))
    touch("AudioWAV/1001_DFA_ANG_XX.wav", "VideoFlash/._1001_DFA_ANG_XX.flv", "VideoFlash/readme_clip.flv")
    (tmp_path / "VideoDemographics.csv").write_text("ActorID,Age,Sex,Race\n1001,51,Male,Caucasian\n1002,21,Female,x\n")
    result = cremad.build(tmp_path)
    by_id = {utterance.id: utterance for utterance in result.utterances}
    assert len(by_id) == 21
    assert by_id["1001_DFA_ANG_XX"].audio == "AudioWAV/1001_DFA_ANG_XX.wav"
    assert by_id["1001_DFA_HAP_XX"].audio == by_id["1001_DFA_HAP_XX"].video
    assert (by_id["1001_DFA_ANG_XX"].gender, by_id["1002_DFA_ANG_XX"].gender) == ("M", "F")
    assert {utterance.label for utterance in result.utterances} == {"ang", "hap", "neu"}
    assert result.warnings == ["VideoFlash/readme_clip.flv: expected a name such as 1001_DFA_ANG_XX.flv; skipped"]
    assert len({utterance.fold for utterance in result.utterances}) == 5
    assert len({(utterance.fold, utterance.speaker) for utterance in result.utterances}) == 7


def test_a_repeated_id_is_skipped_with_a_warning(touch: Touch, tmp_path: Path) -> None:
    touch("a/1001_DFA_ANG_XX.flv", "b/1001_DFA_ANG_XX.mp4")
    result = cremad.build(tmp_path)
    assert len(result.utterances) == 1
    assert "repeats the id" in result.warnings[0]


def test_a_corpus_without_utterances_of_the_selected_classes_is_refused(touch: Touch) -> None:
    with pytest.raises(ManifestError, match=r"got none with the labels sad\n.*readme.flv: expected a name"):
        cremad.build(touch("1001_DFA_ANG_XX.flv", "readme.flv"), ["sad"])


def test_a_clip_without_sound_or_picture_keeps_the_other(touch: Touch, tmp_path: Path) -> None:
    touch("AudioWAV/1001_DFA_ANG_XX.wav", "AudioMP3/1001_DFA_ANG_XX.mp3", "AudioWAV/1001_DFA_SAD_XX.wav")
    touch("VideoFlash/1001_DFA_ANG_XX.flv", "VideoFlash/1001_DFA_HAP_XX.flv", "AudioWAV/other.wav")
    result = cremad.build(tmp_path)
    assert {u.id: (u.audio, u.video) for u in result.utterances} == {
        "1001_DFA_ANG_XX": ("AudioWAV/1001_DFA_ANG_XX.wav", "VideoFlash/1001_DFA_ANG_XX.flv"),
        "1001_DFA_HAP_XX": ("VideoFlash/1001_DFA_HAP_XX.flv", "VideoFlash/1001_DFA_HAP_XX.flv"),
        "1001_DFA_SAD_XX": ("AudioWAV/1001_DFA_SAD_XX.wav", ""),
    }
    assert result.notes == [
        "1 of 3 utterances have no picture and keep the other",
        "files not taken: 1 .mp3 (another file has the sound of the same clip)",
    ]
    assert result.warnings == ["AudioWAV/other.wav: expected a name such as 1001_DFA_ANG_XX.wav; skipped"]


def test_sound_alone_is_enough(touch: Touch, tmp_path: Path) -> None:
    touch(*(f"AudioWAV/1001_DFA_{emotion}_XX.wav" for emotion in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")))
    assert [(u.label, u.video) for u in cremad.build(tmp_path).utterances] == [
        (label, "") for label in ("ang", "dis", "fea", "hap", "neu", "sad")
    ]
