"""CREMA-D, RAVDESS and folders of labels: names are all that these builders look at, so empty files will do."""

from pathlib import Path

import pytest

from foal.manifests import cremad, ravdess
from foal.manifests import label_folders as folder
from foal.shared.errors import ManifestError, UsageError
from foal.shared.utterance import Utterance


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def speakers_by_fold(utterances: list[Utterance]) -> dict[str, set[str]]:
    folds: dict[str, set[str]] = {}
    for utterance in utterances:
        folds.setdefault(utterance.fold, set()).add(utterance.speaker)
    return folds


def test_cremad(tmp_path: Path) -> None:
    touch(tmp_path, *(f"VideoFlash/{1001 + n}_DFA_{e}_XX.flv" for n in range(7) for e in ("ANG", "HAP", "NEU")))
    touch(tmp_path, "AudioWAV/1001_DFA_ANG_XX.wav", "VideoFlash/._1001_DFA_ANG_XX.flv", "VideoFlash/readme_clip.flv")
    (tmp_path / "VideoDemographics.csv").write_text("ActorID,Age,Sex,Race\n1001,51,Male,Caucasian\n1002,21,Female,x\n")
    built = cremad.build(tmp_path)
    by_id = {utterance.id: utterance for utterance in built.utterances}
    assert len(by_id) == 21
    assert by_id["1001_DFA_ANG_XX"].audio == "AudioWAV/1001_DFA_ANG_XX.wav"
    assert by_id["1001_DFA_HAP_XX"].audio == by_id["1001_DFA_HAP_XX"].video
    assert (by_id["1001_DFA_ANG_XX"].gender, by_id["1002_DFA_ANG_XX"].gender) == ("M", "F")
    assert {utterance.label for utterance in built.utterances} == {"ang", "hap", "neu"}
    assert built.problems == ["VideoFlash/readme_clip.flv: expected a name such as 1001_DFA_ANG_XX.flv; left out"]
    folds = speakers_by_fold(list(built.utterances))
    assert len(folds) == 5
    assert sum(len(speakers) for speakers in folds.values()) == 7


def test_cremad_says_which_file_stands_twice(tmp_path: Path) -> None:
    touch(tmp_path, "a/1001_DFA_ANG_XX.flv", "b/1001_DFA_ANG_XX.mp4")
    built = cremad.build(tmp_path)
    assert len(built.utterances) == 1
    assert "a second time" in built.problems[0]


def test_ravdess(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "Actor_16/01-01-05-01-02-01-16.mp4",
        "Actor_01/01-01-01-01-02-01-01.mp4",
        "Actor_01/02-01-01-01-02-01-01.mp4",
        "Actor_01/01-02-03-01-02-01-01.mp4",
        "Actor_01/01-01-09-01-02-01-01.mp4",
        "Actor_01/01-01-08-01-02-01-25.mp4",
    )
    built = ravdess.build(tmp_path)
    assert [(u.id, u.label, u.speaker, u.gender) for u in built.utterances] == [
        ("01-01-01-01-02-01-01", "neu", "actor01", "M"),
        ("01-01-05-01-02-01-16", "ang", "actor16", "F"),
    ]
    assert len(built.problems) == 2
    assert sorted(built.remarks) == ["1 files left out: songs", "1 files left out: without sound"]


def test_a_folder_per_label(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{label}/s{n}_take.mp4" for label in ("joy", "fear") for n in range(6)), "joy/s0_take.wav")
    built = folder.build(tmp_path)
    assert {utterance.label for utterance in built.utterances} == {"joy", "fear"}
    assert "speakers unknown" in built.remarks[0]
    first = next(utterance for utterance in built.utterances if utterance.id == "joy/s0_take")
    assert (first.audio, first.video) == ("joy/s0_take.wav", "joy/s0_take.mp4")

    known = folder.build(tmp_path, speaker=r"^(s\d+)_")
    assert not known.remarks
    folds = speakers_by_fold(list(known.utterances))
    assert sum(len(speakers) for speakers in folds.values()) == 6


@pytest.mark.parametrize("pattern", ["^(?:s1|(s[2-9]))_", "^(s[2-9])?", "^(s[2-9]|)"])
def test_a_name_in_which_the_speakers_group_finds_nothing_is_left_out(tmp_path: Path, pattern: str) -> None:
    touch(tmp_path, "joy/s1_a.mp4", "joy/s2_a.mp4", "fear/s3_a.mp4")
    built = folder.build(tmp_path, speaker=pattern)
    assert [utterance.speaker for utterance in built.utterances] == ["s3", "s2"]
    assert list(built.problems) == [f"joy/s1_a: no speaker found by {pattern!r}; left out"]


@pytest.mark.parametrize("pattern", ["(", "no group"])
def test_a_speaker_pattern_that_cannot_be(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(UsageError, match="--speaker"):
        folder.build(touch(tmp_path, "joy/a.mp4"), speaker=pattern)


@pytest.mark.parametrize("build", [cremad.build, ravdess.build, folder.build])
def test_an_empty_folder_is_no_corpus(tmp_path: Path, build: object) -> None:
    with pytest.raises(ManifestError, match="expected"):
        build(tmp_path)  # type: ignore[operator]
    with pytest.raises(ManifestError, match="got nothing there"):
        build(tmp_path / "nowhere")  # type: ignore[operator]


@pytest.mark.parametrize("build", [cremad.build, ravdess.build])
def test_an_unknown_label_lists_the_known(tmp_path: Path, build: object) -> None:
    with pytest.raises(UsageError, match="unknown label 'joy'; this corpus has neu"):
        build(tmp_path, ["joy"])  # type: ignore[operator]
