"""The manifest of IEMOCAP, from the synthetic corpus and from small files with the irregularities of the original."""

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from foal.manifests.common import ManifestResult
from foal.manifests.corpora.iemocap import CLASSES, PUBLISHED, PUBLISHED_SIX, build
from foal.shared.errors import ManifestError, UsageError

HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"


def corpus_with(root: Path, dialog: str, lines: str, *, media: list[str], transcript: str = "") -> Path:
    """Write a dialog with empty media files, of which the builder reads only the names."""
    session = root / f"Session{dialog[4]}"
    for folder, name, content in (
        ("dialog/EmoEvaluation", f"{dialog}.txt", HEADER + lines),
        ("dialog/transcriptions", f"{dialog}.txt", transcript),
        ("dialog/avi/DivX", f"{dialog}.avi", ""),
        *((f"sentences/wav/{dialog}", f"{name}.wav", "") for name in media),
    ):
        (session / folder).mkdir(parents=True, exist_ok=True)
        (session / folder / name).write_text(content)
    return root


def line(name: str, label: str, start: float = 1.5, end: float = 3.25) -> str:
    return f"[{start:.4f} - {end:.4f}]\t{name}\t{label}\t[2.5000, 3.0000, 3.5000]\n"


def test_the_synthetic_corpus_has_every_class_in_every_session(synthetic_corpus: Path) -> None:
    result = build(synthetic_corpus, corpus="synthetic")
    counts = Counter((utterance.session, utterance.label) for utterance in result.utterances)
    assert counts == {(f"session{n}", label): 1 for n in range(1, 6) for label in CLASSES}
    assert not result.warnings
    for utterance in result.utterances:
        assert (synthetic_corpus / utterance.audio).is_file()
        assert (synthetic_corpus / utterance.video).is_file()


def test_speaker_and_crop_follow_from_the_letters_of_the_id(tmp_path: Path) -> None:
    names = ["Ses01F_impro05a_F000", "Ses01F_impro05a_M001"]
    root = corpus_with(tmp_path, "Ses01F_impro05a", "".join(line(name, "neu") for name in names), media=names)
    left, right = build(root).utterances
    assert (left.speaker, left.gender, left.crop) == ("Ses01F", "F", "left")
    assert (right.speaker, right.gender, right.crop) == ("Ses01M", "M", "right")


def test_times_ratings_paths_and_transcripts_are_read(tmp_path: Path) -> None:
    name = "Ses01M_script01_1_M003"
    root = corpus_with(
        tmp_path,
        "Ses01M_script01_1",
        line(name, "exc"),
        media=[name],
        transcript=f"M: what?\n{name} [1.5000-3.2500]: It's a, well: comma.\n",
    )
    result = build(root)
    (utterance,) = result.utterances
    assert (utterance.start, utterance.end) == (1.5, 3.25)
    assert (utterance.valence, utterance.arousal, utterance.dominance) == (2.5, 3.0, 3.5)
    assert utterance.label == "hap"
    assert utterance.transcript == "It's a, well: comma."
    assert utterance.video == "Session1/dialog/avi/DivX/Ses01M_script01_1.avi"
    assert utterance.audio == f"Session1/sentences/wav/Ses01M_script01_1/{name}.wav"
    assert "1 transcription lines" in result.notes[0]


def test_only_label_lines_of_dialog_files_are_read(tmp_path: Path) -> None:
    name = "Ses01F_impro01_F000"
    lines = line(name, "ang") + "C-E1:\tNeutral;\t()\nA-E3:\tval 2; act 3; dom  2;\t()\nC-F1:\tAnger;\t(mad)\n\n"
    root = corpus_with(tmp_path, "Ses01F_impro01", lines, media=[name])
    labels = root / "Session1/dialog/EmoEvaluation"
    (labels / "._Ses01F_impro01.txt").write_bytes(b"\x00\x05\x16\x07Mac OS X")
    (labels / "Categorical").mkdir()
    (labels / "Categorical" / "Ses01F_impro01_e1_cat.txt").write_text(line("Ses01F_impro01_F000", "sad"))
    result = build(root)
    assert [utterance.label for utterance in result.utterances] == ["ang"]
    assert not result.warnings


def test_other_labels_are_excluded_unless_selected(tmp_path: Path) -> None:
    names = [f"Ses02F_impro01_F00{n}" for n in range(5)]
    lines = "".join(line(name, label) for name, label in zip(names, ["fru", "xxx", "exc", "hap", "neu"], strict=True))
    root = corpus_with(tmp_path, "Ses02F_impro01", lines, media=names)
    assert [u.label for u in build(root).utterances] == ["hap", "hap", "neu"]
    assert [u.label for u in build(root, ["exc", "fru"]).utterances] == ["fru", "exc"]
    with pytest.raises(UsageError, match="unknown label 'joy'; this corpus has neu, hap"):
        build(root, ["joy"])


@pytest.mark.parametrize(
    ("invalid", "message"),
    [
        ("[6.2901 - 8.2357] broken\n", "line 4: expected '\\[start - end\\] id label"),
        ("[6.2901 - ]\tSes01F_impro01_F009\tneu\t[2.5, 2.5, 2.5]\n", "line 4: expected"),
        (line("Ses01F_impro01_X009", "neu"), "line 4: expected the id of a turn"),
        (line("Ses01F_impro02_F009", "neu"), "line 4: expected the id of a turn of Ses01F_impro01"),
        (line("Ses01F_impro01_F009", "neu", 5.0, 4.0), r"line 4: Ses01F_impro01_F009 ends \(4.0000 s\) before"),
        (line("Ses01F_impro01_F009", "joy"), "unknown label 'joy'"),
        (line("Ses01F_impro01_F009", "neu"), "no such file"),
    ],
)
def test_an_invalid_line_is_skipped_with_file_and_line(tmp_path: Path, invalid: str, message: str) -> None:
    name = "Ses01F_impro01_F000"
    root = corpus_with(
        tmp_path,
        "Ses01F_impro01",
        line(name, "neu") + invalid + line(name[:-1] + "1", "sad"),
        media=[name, name[:-1] + "1"],
    )
    result = build(root)
    assert [u.label for u in result.utterances if u.id != "Ses01F_impro01_F009"] == ["neu", "sad"]
    assert len(result.warnings) == 1
    assert re.search(message, result.warnings[0])


def test_an_utterance_is_kept_without_audio_but_not_without_audio_and_video(tmp_path: Path) -> None:
    root = corpus_with(tmp_path, "Ses01F_impro01", line("Ses01F_impro01_F000", "neu"), media=[])
    result = build(root)
    assert result.utterances[0].audio == ""
    assert result.utterances[0].video
    shutil.rmtree(root / "Session1/dialog/avi")
    assert build(root).utterances == []


def test_a_folder_without_sessions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="Session1 to Session5, got none"):
        build(tmp_path)
    with pytest.raises(ManifestError, match="but it does not exist"):
        build(tmp_path / "nowhere")


def test_dialog_turn_and_scene_follow_from_the_dialog_and_the_times(tmp_path: Path) -> None:
    names = [f"Ses01F_script02_1b_{letter}000" for letter in "FM"]
    lines = line(names[0], "neu", 5.0, 9.0) + line(names[1], "xxx", 1.0, 6.0)
    root = corpus_with(tmp_path, "Ses01F_script02_1b", lines, media=names)
    # Turns are counted over all labels.
    (labelled,) = build(root).utterances
    assert (labelled.dialog, labelled.turn, labelled.scene) == ("Ses01F_script02_1b", 1, "script02")
    result = build(root, context=True)
    assert [(u.id, u.label, u.turn) for u in result.utterances] == [(names[0], "neu", 1), (names[1], "", 0)]
    assert result.notes[0] == (
        "2 turns of 1 dialogs, of which 1 without a label, as context; NOT equal to the published 10,039 turns of 151 "
        "dialogs"
    )


def test_the_published_counts_of_six_classes_are_recognized(tmp_path: Path) -> None:
    assert [sum(counts) for counts in PUBLISHED_SIX.values()] == [1365, 1348, 1533, 1512, 1622]
    assert [sum(column) for column in zip(*PUBLISHED_SIX.values(), strict=True)] == [595, 1084, 1708, 1103, 1041, 1849]
    # Four classes follow from six: hap contains exc.
    for session, (hap, sad, neu, ang, exc, _) in PUBLISHED_SIX.items():
        assert PUBLISHED[session] == [neu, hap + exc, sad, ang]
    names = ["Ses01F_impro01_F000", "Ses01F_impro01_F001"]
    root = corpus_with(tmp_path, "Ses01F_impro01", line(names[0], "exc") + line(names[1], "fru"), media=names)
    notes = build(root, ["ang", "hap", "exc", "sad", "neu", "fru"]).notes
    assert notes[-2].startswith("NOT equal to the published counts of IEMOCAP: 2 utterances instead of 7,380")
    assert "session1: hap 0 instead of 135" in notes[-2]
    assert "7,433" in notes[-1]


def build_with_counts(counts: dict[str, list[int]], root: Path) -> ManifestResult:
    """The manifest of a corpus of empty media files with the given counts per session and class."""
    for session, numbers in counts.items():
        dialog = f"Ses0{session[-1]}F_impro01"
        labels = [label for label, count in zip(CLASSES, numbers, strict=True) for _ in range(count)]
        names = [f"{dialog}_{'FM'[n % 2]}{n // 2:03d}" for n in range(len(labels))]
        lines = "".join(line(name, label) for name, label in zip(names, labels, strict=True))
        corpus_with(root, dialog, lines, media=names)
    return build(root)


def test_the_published_counts_are_recognized(tmp_path: Path) -> None:
    result = build_with_counts(PUBLISHED, tmp_path)
    assert len(result.utterances) == 5531
    assert len({utterance.speaker for utterance in result.utterances}) == 10
    assert result.notes[-1].startswith("equal to the published counts")


def test_differences_from_the_published_counts_are_reported(tmp_path: Path) -> None:
    result = build_with_counts({**PUBLISHED, "session3": [320, 286, 305, 239]}, tmp_path)
    assert result.notes[-1].startswith("NOT equal")
    assert "session3: ang 239 instead of 240" in result.notes[-1]
    assert "session1" not in result.notes[-1]
