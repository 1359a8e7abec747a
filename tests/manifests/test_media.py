"""The search for the media files of a corpus."""

from collections.abc import Callable
from pathlib import Path

import pytest

from foal.manifests.media import AUDIO_SUFFIXES, VIDEO_SUFFIXES, require_corpus_root, scan_media
from foal.shared.errors import ManifestError

Touch = Callable[..., Path]


def test_media_files_are_sorted_and_hidden_files_are_ignored(touch: Touch) -> None:
    root = touch("b/2.WAV", "b/1.mp4", "a.wav", "._a.wav", ".cache/c.wav", "b/0.Mkv")
    scan = scan_media(root)
    assert [scan.name(path) for path in scan.audio] == ["a.wav", "b/2.WAV"]
    assert [scan.name(path) for path in scan.video] == ["b/0.Mkv", "b/1.mp4"]
    assert scan.notes() == []
    assert scan.warnings() == []


def test_other_files_are_counted_by_suffix_and_reason(touch: Touch) -> None:
    root = touch("a.wav", "notes.txt", "b/more.TXT", "LICENSE", "photo.jpg")
    (root / "gone.mp4").symlink_to("nowhere.mp4")
    scan = scan_media(root)
    scan.leave_out(scan.audio[0], "songs")
    assert sorted(scan.notes()) == [
        "files not taken: 1 .mp4 (no file: a broken link, a pipe or a device)",
        "files not taken: 1 .wav (songs)",
        "files not taken: 2 .txt, 1 .jpg, 1 without a suffix (no suffix of audio or video)",
    ]


def test_pointers_of_git_lfs_are_named(touch: Touch) -> None:
    root = touch("a.wav", "b.wav")
    (root / "b.wav").write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 72862\n")
    scan = scan_media(root)
    assert len(scan.audio) == 2
    assert scan.warnings() == [
        "1 media file is a Git LFS pointer, not the media, the first: b.wav; fetch the files with `git lfs pull`"
    ]


def test_common_suffixes_are_known_and_are_one_kind_each() -> None:
    assert {".wav", ".aiff", ".aif", ".au", ".oga", ".w64", ".mp2", ".amr", ".wma"} <= AUDIO_SUFFIXES
    assert {".3gp", ".ts", ".mts", ".m2ts", ".vob", ".ogv", ".mp4", ".webm"} <= VIDEO_SUFFIXES
    assert not AUDIO_SUFFIXES & VIDEO_SUFFIXES


def test_a_root_that_is_no_folder_is_refused(touch: Touch) -> None:
    with pytest.raises(ManifestError, match="the corpus folder with clips, but it is a file"):
        require_corpus_root(touch("a.wav") / "a.wav", "clips")


def test_links_to_folders_outside_are_followed_once_and_loops_are_not(tmp_path: Path) -> None:
    root, outside = tmp_path / "corpus", tmp_path / "disk2" / "happy"
    (root / "sad").mkdir(parents=True)
    outside.mkdir(parents=True)
    for path in (root / "sad" / "a.wav", outside / "b.wav"):
        path.write_bytes(b"RIFF")
    (root / "happy").symlink_to(outside)
    (root / "again").symlink_to(outside)
    (root / "sad" / "loop").symlink_to(root)
    (root / "up").symlink_to(tmp_path)
    scan = scan_media(root)
    names = sorted(scan.name(path) for path in scan.audio)
    assert len(names) == 2
    assert names[0] in ("again/b.wav", "happy/b.wav")
    assert names[1] == "sad/a.wav"
