"""Remembered lengths of media files."""

from pathlib import Path

import pytest

from foal.shared.files.media_lengths import MEDIA_LENGTHS, MediaLengths


def test_a_length_is_remembered_for_a_file_with_the_same_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "session1").mkdir()
    lengths = MediaLengths(tmp_path)
    assert lengths.find("Zoe\u0308.wav", "10:1") is None
    lengths.add("Zoe\u0308.wav", "10:1", 2.125)
    lengths.add("missing.wav", "", 2.0)
    lengths.add("endless.webm", "5:5", 0.0)
    lengths.remember()
    again = MediaLengths(tmp_path)
    assert again.find("Zo\u00eb.wav", "10:1") == 2.125
    assert again.find("Zo\u00eb.wav", "10:2") is None
    assert again.find("missing.wav", "") is None
    assert again.find("endless.webm", "5:5") is None
    # Rows of other files stay.
    again.add("b.wav", "3:3", 1.0)
    again.remember()
    assert (tmp_path / MEDIA_LENGTHS).read_text(encoding="utf-8").splitlines() == [
        "media,fingerprint,seconds",
        "Zo\u00eb.wav,10:1,2.125",
        "b.wav,3:3,1.0",
    ]


def test_nothing_is_written_without_new_lengths_or_in_an_empty_folder(tmp_path: Path) -> None:
    MediaLengths(tmp_path).remember()
    for folder in (tmp_path, tmp_path / "features"):
        lengths = MediaLengths(folder)
        lengths.add("a.wav", "1:1", 1.0)
        lengths.remember()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "other,columns\n", "media,fingerprint,seconds\na.wav,1:1,long\n", "\0"])
def test_a_damaged_table_remembers_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / MEDIA_LENGTHS).write_text(content)
    assert MediaLengths(tmp_path).find("a.wav", "1:1") is None
