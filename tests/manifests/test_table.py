"""Tables of any separator and encoding."""

from pathlib import Path

import pytest

from foal.manifests.table import parse_seconds, read_table
from foal.shared.errors import ManifestError


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_separators_and_encodings_are_recognized(tmp_path: Path, separator: str, encoding: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(f"Name{separator} Label\r\nJos\u00e9{separator}joy \r\n\r\n".encode(encoding))
    table = read_table(path)
    assert table.header == ["Name", "Label"]
    assert table.rows == [{"Name": "Jos\u00e9", "Label": "joy"}]
    assert table.lines == [2]
    assert len(table.notes) == (separator != ",") + (encoding in ("utf-16", "cp1252"))


def test_a_file_that_is_no_table_is_named_as_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with pytest.raises(ManifestError, match="but it does not exist"):
        read_table(path)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ManifestError, match="got a Git LFS pointer"):
        read_table(path)
    path.write_text("path,label\n")
    with pytest.raises(ManifestError, match="got an empty table"):
        read_table(path)


@pytest.mark.parametrize(("text", "seconds"), [("", None), ("12.5", 12.5), ("0:01:02,500", 62.5), ("2:03", 123.0)])
def test_times_are_seconds_or_clock_times(text: str, seconds: float | None) -> None:
    assert parse_seconds(text) == seconds
