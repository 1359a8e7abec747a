"""Functions shared by all manifest builders."""

from collections.abc import Callable
from pathlib import Path

import pytest

from foal.manifests.common import (
    ManifestResult,
    class_counts,
    drop_duplicate_ids,
    modality_notes,
    select_classes,
)
from foal.manifests.corpora import cremad, label_folders, ravdess
from foal.shared.errors import ManifestError, UsageError
from foal.shared.utterance import Utterance

Touch = Callable[..., Path]
Build = Callable[..., ManifestResult]


def utterance(name: str, **columns: str) -> Utterance:
    return Utterance(id=name, corpus="test", label=columns.pop("label", "hap"), audio=f"{name}.wav", **columns)  # type: ignore[arg-type]


@pytest.mark.parametrize("build", [cremad.build, ravdess.build, label_folders.build])
def test_an_empty_or_missing_folder_is_refused(tmp_path: Path, build: Build) -> None:
    with pytest.raises(ManifestError, match="expected"):
        build(tmp_path)
    with pytest.raises(ManifestError, match="but it does not exist"):
        build(tmp_path / "nowhere")


@pytest.mark.parametrize("build", [cremad.build, ravdess.build])
def test_an_unknown_label_is_refused_with_a_list_of_known_labels(tmp_path: Path, build: Build) -> None:
    with pytest.raises(UsageError, match="unknown label 'joy'; this corpus has"):
        build(tmp_path, ["joy"])


def test_selected_classes_keep_their_order_and_are_unique() -> None:
    assert select_classes(["sad", "hap", "sad"], ["hap", "sad", "ang"], ["hap"]) == ["sad", "hap"]
    assert select_classes(None, ["hap", "sad"], ["sad"]) == ["sad"]


def test_repeated_and_unprintable_ids_are_dropped_with_a_warning() -> None:
    duplicate = Utterance(id="a", corpus="test", label="hap", video="other/a.mp4")
    kept, warnings = drop_duplicate_ids([utterance("a"), duplicate, utterance("b\n"), utterance("c\udcff")])
    assert [row.id for row in kept] == ["a"]
    assert warnings == [
        "other/a.mp4: repeats the id 'a' of a.wav; skipped",
        r"'b\n': expected a printable name, since it goes into the manifest; skipped",
        r"'c\\udcff': expected a printable name, since it goes into the manifest; skipped",
    ]


def test_class_counts_are_sorted_by_session_or_fold() -> None:
    rows = [
        utterance("a", session="session10"),
        utterance("b", session="session2", label="sad"),
        utterance("c", fold="f"),
    ]
    assert class_counts(rows, ["sad", "hap"]) == {"f": [0, 1], "session2": [1, 0], "session10": [0, 1]}


def test_utterances_without_sound_or_picture_are_counted() -> None:
    both, sound = Utterance(id="a", audio="a.wav", video="a.mp4"), Utterance(id="b", audio="b.wav")
    assert modality_notes([both, both]) == []
    assert modality_notes([both, sound]) == ["1 of 2 utterances have no picture and keep the other"]
    assert modality_notes([sound]) == [
        "no picture at all: extract with --streams audio and train with --modalities audio"
    ]
