"""From words on the command line to utterances."""

import logging
from pathlib import Path

import pytest

from foal.predict.sources import Clips, clip_of_face, face_of, file_utterance, find_clips, is_text, part_of
from foal.shared.errors import FoalError, ManifestError
from foal.shared.manifest import write_manifest
from foal.shared.utterance import Utterance


def touch(path: Path, content: bytes = b"\0media") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def named(clips: Clips) -> list[str]:
    return [clips.name(utterance.id) for utterance in clips.utterances]


def test_files_folders_and_patterns_become_utterances_with_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "folder/b.wav", "folder/deep/c.MOV", "folder/.hidden.wav", "folder/notes.txt", "x/d.ogg"):
        touch(tmp_path / name)
    clips = find_clips(["a.mp4", "folder", "x/*.ogg"], root=Path("nowhere"))
    assert named(clips) == ["a.mp4", "b.wav", "deep/c.MOV", "d.ogg"]
    assert [u.audio for u in clips.utterances] == [
        str(tmp_path / n) for n in ("a.mp4", "folder/b.wav", "folder/deep/c.MOV", "x/d.ogg")
    ]
    assert all(u.audio == u.video == u.id and not u.label for u in clips.utterances)


def test_a_file_has_the_same_id_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "folder/a.wav")
    monkeypatch.chdir(tmp_path)
    alone, inside = find_clips(["folder/a.wav"], root=tmp_path), find_clips(["folder"], root=tmp_path)
    assert alone.utterances == inside.utterances
    both = find_clips(["folder", str(tmp_path / "folder" / "a.wav")], root=tmp_path)
    assert both.utterances == alone.utterances


def test_equal_names_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for name in ("one/a.wav", "two/a.wav", "two/b.wav"):
        touch(tmp_path / name)
    clips = find_clips([str(tmp_path / name) for name in ("one/a.wav", "two/a.wav", "two/b.wav")], root=tmp_path)
    assert named(clips) == ["one/a.wav", "two/a.wav", "b.wav"]


def test_a_dash_reads_a_list_of_paths(tmp_path: Path) -> None:
    paths = [touch(tmp_path / name) for name in ("a.wav", "with space.wav")]
    clips = find_clips(["-"], root=tmp_path, lines=[f"{paths[0]}\n", "\n", f"{paths[1]}\r\n"])
    assert named(clips) == ["a.wav", "with space.wav"]


def test_a_manifest_keeps_ids_labels_and_segments(tmp_path: Path) -> None:
    rows = [
        Utterance(id="u1", corpus="c", session="s", label="hap", audio="m/a.wav", start=1.0, end=2.0),
        Utterance(id="u2", corpus="c", session="s", video="m/b.mp4", crop="left", transcript="yes"),
    ]
    touch(tmp_path / "m/a.wav")
    write_manifest(tmp_path / "list.csv", rows)
    # The root of params.yaml belongs to another corpus: the paths are relative to the manifest.
    first, second = find_clips([str(tmp_path / "list.csv")], root=tmp_path / "elsewhere").utterances
    assert (first.id, first.label, first.start, first.end) == ("u1", "hap", 1.0, 2.0)
    assert first.audio == str(tmp_path / "m/a.wav")
    assert not first.video
    assert (second.video, second.crop, second.transcript) == (
        str(tmp_path / "elsewhere" / "m/b.mp4").replace("elsewhere/", ""),
        "left",
        "yes",
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.mp4", "no such file or folder"),
        ("*.mkv", "no file matches this pattern"),
        ("empty", "got none in 'empty'"),
    ],
)
def test_what_is_not_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FoalError, match=message) as caught:
        find_clips([source], root=tmp_path)
    assert caught.value.exit_code == 1


def test_text_is_refused_with_the_way_to_give_a_list(tmp_path: Path) -> None:
    notes = touch(tmp_path / "list.txt", b"a.mp4\nb.mp4\n")
    with pytest.raises(FoalError, match=r"got a text file.*foal predict - <"):
        find_clips([str(notes)], root=tmp_path)


def test_a_pattern_leaves_text_out_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path / "a.wav")
    touch(tmp_path / "notes.md", b"# Notes")
    with caplog.at_level(logging.INFO, logger="foal"):
        assert named(find_clips([f"{tmp_path}/*"], root=tmp_path)) == ["a.wav"]
    assert "notes.md" in caplog.text


def test_only_text_without_a_suffix_of_media_is_text(tmp_path: Path) -> None:
    assert is_text(touch(tmp_path / "a", "ä".encode() * 3000))
    assert not is_text(touch(tmp_path / "b", b"RIFF\0\0"))
    assert not is_text(touch(tmp_path / "c", bytes(range(128, 256))))
    assert not is_text(touch(tmp_path / "d.mp4", b"text"))
    assert not is_text(touch(tmp_path / "e", b""))


def test_a_bad_manifest_is_an_error_of_the_manifest(tmp_path: Path) -> None:
    touch(tmp_path / "bad.csv", b"path,label\na.wav,hap\n")
    with pytest.raises(ManifestError, match="the header lacks column"):
        find_clips([str(tmp_path / "bad.csv")], root=tmp_path)


def test_parts_know_their_clip_and_their_face() -> None:
    clip = file_utterance(Path("/media/a.mp4"))
    part = part_of(part_of(clip, "face2", crop="left"), "1.00-2.00", start=1.0, end=2.0)
    assert part.id == "/media/a.mp4#face2#1.00-2.00"
    assert face_of(part.id) == "face2"
    assert clip_of_face(part).id == "/media/a.mp4#1.00-2.00"
    assert face_of(clip.id) == face_of("/media/my#facets.mp4") == ""
