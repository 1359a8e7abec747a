"""Manifests from tables of paths and labels."""

from collections.abc import Callable
from pathlib import Path

import pytest

from foal.manifests.corpora import csv_table
from foal.shared.errors import ManifestError, UsageError

Touch = Callable[..., Path]


def table(root: Path, text: str, name: str = "labels.csv") -> Path:
    (root / name).write_text(text, encoding="utf-8")
    return root / name


def test_usual_columns_are_found_and_all_of_them_are_read(touch: Touch) -> None:
    path = table(
        touch("clips/a.mp4", "clips/b.wav"),
        "File;Emotion;Start;End;Speaker;Sex;Split;Text\n"
        "clips/a.mp4;joy;0:01;2.5;s1;female;train;one, two\n"
        "clips/a.mp4;fear;2.5;4;s1;female;train;\n"
        "clips/b.wav;joy;;;s2;M;test;three\n",
    )
    result = csv_table.build(path)
    first, second, third = result.utterances
    assert (first.id, second.id, third.id) == ("clips/a", "clips/a#2", "clips/b")
    assert (first.audio, first.video, third.audio, third.video) == ("clips/a.mp4", "clips/a.mp4", "clips/b.wav", "")
    assert (first.start, first.end, first.speaker, first.gender, first.fold) == (1.0, 2.5, "s1", "F", "train")
    assert (first.label, first.transcript, third.start) == ("joy", "one, two", None)
    assert result.classes == ["fear", "joy"]
    assert result.notes[0] == f"{path}: columns separated by semicolons"
    assert "path=File, label=Emotion, start=Start" in result.notes[1]
    assert "test: has no utterance of fear; its scores leave them out" in result.warnings


def test_dialogs_and_soft_labels_are_read_and_context_is_kept(touch: Touch) -> None:
    path = table(
        touch("a.wav", "b.wav", "c.wav"),
        "path,label,dialogue_id,turn,scene,label_joy,label_fear\n"
        "a.wav,joy,d1,0,s1,3,1\n"
        "b.wav,other,d1,1,s1,,\n"
        "c.wav,,d1,2,s1,0.5,\n",
    )
    result = csv_table.build(path, ["joy"], context=True)
    assert [(u.label, u.dialog, u.turn, u.scene) for u in result.utterances] == [
        ("joy", "d1", 0, "s1"),
        ("", "d1", 1, "s1"),
        ("", "d1", 2, "s1"),
    ]
    assert [u.shares for u in result.utterances] == [(("joy", 3.0), ("fear", 1.0)), (), (("joy", 0.5),)]
    assert any("2 utterances of other labels kept as context: other 1, (empty) 1" in note for note in result.notes)
    assert [u.id for u in csv_table.build(path, ["joy"]).utterances] == ["a"]


def test_columns_with_other_names_are_given(touch: Touch) -> None:
    root = touch("a.mp4", "b.mp4")
    path = table(root, "Datei,Gefuehl\na.mp4,joy\nb.mp4,fear\n")
    with pytest.raises(ManifestError, match=r"expected a column for label, got 'Datei', 'Gefuehl'; name it with --col"):
        csv_table.build(path)
    result = csv_table.build(path, columns=["path=Datei", "label=Gefuehl"])
    assert [u.label for u in result.utterances] == ["joy", "fear"]
    for pair, message in (("label=Other", "has no column 'Other'"), ("mood=Datei", "got 'mood'"), ("x", "got 'x'")):
        with pytest.raises(UsageError, match=message):
            csv_table.build(path, columns=[pair])
    with pytest.raises(ManifestError, match="expected one column for label, got 'label', 'emotion'"):
        csv_table.build(table(root, "path,label,emotion\na.mp4,x,y\n"))


def test_names_without_suffix_are_found_below_the_root_as_in_mer2023(touch: Touch) -> None:
    root = touch("train/sample_01.avi", "train/sample_02.mp4", "wav/sample_02.wav", "test1/sample_09.avi")
    table(
        root, "name,discrete,valence\nsample_01,happy,1.5\nsample_02,worried,-2\nsample_03,sad,0\n", "train-label.csv"
    )
    result = csv_table.build(root, corpus="mer")
    assert [(u.label, u.valence, u.audio, u.video) for u in result.utterances] == [
        ("happy", 1.5, "train/sample_01.avi", "train/sample_01.avi"),
        ("worried", -2.0, "wav/sample_02.wav", "train/sample_02.mp4"),
    ]
    assert result.warnings[0].startswith("1 row without a file left out, the first: ")
    assert "line 4: no file 'sample_03'" in result.warnings[0]
    assert "files not taken: 1 .avi (no row in train-label.csv)" in result.notes


def test_folds_keep_speakers_together(touch: Touch) -> None:
    names = [f"{n}.wav" for n in range(30)]
    rows = "".join(f"{name},{('joy', 'fear')[n % 2]},s{n % 6}\n" for n, name in enumerate(names))
    result = csv_table.build(table(touch(*names), "path,label,speaker\n" + rows))
    assert len({u.fold for u in result.utterances}) == 5
    assert len({(u.fold, u.speaker) for u in result.utterances}) == 6


def test_labels_that_differ_in_case_are_named_or_merged(touch: Touch) -> None:
    path = table(touch("a.wav", "b.wav", "c.wav"), "path,label\na.wav,Happy\nb.wav,Happy\nc.wav, happy \n")
    assert "labels that differ only in case or spaces: 'Happy' 2, 'happy' 1; --normalize-labels merges them" in (
        csv_table.build(path).warnings
    )
    assert csv_table.build(path, normalize_labels=True).classes == ["Happy"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,label,start,end\na.wav,joy,3,2\n",
            "line 2: column end: expected a time after the start, got 3.0",
        ),
        ("path,label,start\na.wav,joy,soon\n", "line 2: column start: expected a number, got 'soon'"),
        ("path,label,turn\na.wav,joy,1.5\n", "line 2: column turn: expected a whole number from 0 on, got '1.5'"),
        ("path,label,label_joy\na.wav,joy,-1\n", "line 2: column label_joy: expected a share from 0 on or an empty"),
        ("path,label,fold\na.wav,joy,train\nb.wav,joy,\n", "empty for 1 of 2 utterances: b; fill it in"),
        ("path,label\na.wav,joy,more\n", "line 2: expected 2 cells as in the header, got 3"),
        ("path,label\nx/a.mp4,joy\n", "none of the 1 files that it names exists below"),
        ("label\njoy\n", "expected a column for path, or for audio and video"),
        ("path,label\na.wav,\n", "expected labels in the column label, got empty cells only"),
        ("path,label\nsame.wav,joy\n", "expected one file for 'same.wav', got p/same.wav, q/same.wav"),
    ],
)
def test_bad_tables_are_refused_with_the_line(touch: Touch, text: str, message: str) -> None:
    root = touch("a.wav", "b.wav", "p/same.wav", "q/same.wav")
    with pytest.raises(ManifestError, match=message):
        csv_table.build(table(root, text))


def test_a_folder_needs_exactly_one_table_of_labels(touch: Touch) -> None:
    root = touch("a.wav", "notes.csv")
    with pytest.raises(UsageError, match=r"expected one table of labels \(\*label\*.csv\), got none"):
        csv_table.build(root)
    result = csv_table.build(root, labels=table(root, "path,label\na.wav,joy\n", "notes.csv"))
    assert len(result.utterances) == 1
