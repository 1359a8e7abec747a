"""Files that are not what their names say."""

from pathlib import Path

from foal.shared.files.recognize import delimiter, is_lfs_pointer, table_problem

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 72862\n"


def test_pointers_of_git_lfs_are_recognized_by_content_and_size(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    assert not is_lfs_pointer(path)
    path.write_text(POINTER)
    assert is_lfs_pointer(path)
    assert not is_lfs_pointer(path, size=72862)
    assert "Git LFS pointer" in table_problem(path)
    path.write_bytes(b"RIFF....WAVE")
    assert not is_lfs_pointer(path)


def test_utf_16_and_separators_are_recognized(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n", encoding="utf-16")
    assert table_problem(path) == "got UTF-16; save it as CSV UTF-8"
    path.write_text("a,b\n")
    assert table_problem(path) == ""
    assert [delimiter(text) for text in ("a,b", "a;b;c,d", "a\tb", "a")] == [",", ";", "\t", ","]
