"""Functions shared by all manifest builders."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foal.manifests import cremad, label_folders, ravdess
from foal.manifests.common import (
    AUDIO_SUFFIXES,
    VIDEO_SUFFIXES,
    ManifestResult,
    class_counts,
    drop_duplicate_ids,
    folds_by_class,
    folds_by_speaker,
    media_files,
    select_classes,
)
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
    with pytest.raises(UsageError, match="unknown label 'joy'; this corpus has neu"):
        build(tmp_path, ["joy"])


def test_selected_classes_keep_their_order_and_are_unique() -> None:
    assert select_classes(["sad", "hap", "sad"], ["hap", "sad", "ang"], ["hap"]) == ["sad", "hap"]
    assert select_classes(None, ["hap", "sad"], ["sad"]) == ["sad"]


def test_media_files_are_sorted_and_hidden_files_are_ignored(touch: Touch) -> None:
    root = touch("b/2.WAV", "b/1.mp4", "a.wav", "._a.wav", ".cache/c.wav", "notes.txt")
    names = [path.relative_to(root).as_posix() for path in media_files(root, AUDIO_SUFFIXES | VIDEO_SUFFIXES)]
    assert names == ["a.wav", "b/1.mp4", "b/2.WAV"]


def test_repeated_and_unprintable_ids_are_dropped_with_a_warning() -> None:
    duplicate = Utterance(id="a", corpus="test", label="hap", video="other/a.mp4")
    kept, warnings = drop_duplicate_ids([utterance("a"), duplicate, utterance("b\n"), utterance("c\udcff")])
    assert [row.id for row in kept] == ["a"]
    assert warnings == [
        "other/a.mp4: repeats the id 'a' of a.wav; skipped",
        r"'b\n': expected a printable name, since it goes into the manifest; skipped",
        r"'c\\udcff': expected a printable name, since it goes into the manifest; skipped",
    ]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60))
def test_no_speaker_is_in_two_folds_and_no_fold_is_empty(speakers: list[int]) -> None:
    folded = folds_by_speaker([utterance(f"u{n}", speaker=f"s{speaker}") for n, speaker in enumerate(speakers)])
    assert [row.id for row in folded] == [f"u{n}" for n in range(len(speakers))]
    assert len({(row.speaker, row.fold) for row in folded}) == len(set(speakers))
    assert {row.fold for row in folded} == {f"fold{n + 1}" for n in range(min(5, len(set(speakers))))}


@given(st.lists(st.sampled_from(["hap", "sad", "ang"]), min_size=1, max_size=60))
def test_folds_by_class_have_equal_shares_of_each_class(labels: list[str]) -> None:
    folded = folds_by_class([utterance(f"u{n}", label=label) for n, label in enumerate(labels)])
    for label in set(labels):
        counts = Counter(row.fold for row in folded if row.label == label)
        assert max(counts.values()) - min([counts[f"fold{n + 1}"] for n in range(5)]) <= 1


def test_class_counts_are_sorted_by_session_or_fold() -> None:
    rows = [
        utterance("a", session="session10"),
        utterance("b", session="session2", label="sad"),
        utterance("c", fold="f"),
    ]
    assert class_counts(rows, ["sad", "hap"]) == {"f": [0, 1], "session2": [1, 0], "session10": [0, 1]}
