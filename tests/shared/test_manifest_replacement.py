"""Writing a manifest replaces manifests only, unless it is forced."""

import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from foal.shared.errors import ManifestError, UsageError
from foal.shared.manifest import read_manifest, write_manifest
from foal.shared.utterance import Utterance
from foal.tests.shared.test_manifest import HEADER


def test_other_files_are_not_replaced_and_invalid_rows_are_not_written(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("train: {}\n")
    utterance = Utterance(id="a", corpus="c", audio="a.wav")
    with pytest.raises(UsageError, match="exists and is not a manifest"):
        write_manifest(tmp_path / "params.yaml", [utterance])
    with pytest.raises(ManifestError, match=r"m\.csv, line 3, column id: expected unique ids"):
        write_manifest(tmp_path / "m.csv", [utterance, utterance])
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize(
    "content",
    [
        b"id,and,other\n1,2,3\n",
        b"id,",
        b"",
        HEADER.encode() + b",notes\n",
        HEADER[:-5].encode(),
        b"id," * (1 << 20),
        b"\xff",
    ],
)
def test_files_that_only_resemble_a_manifest_are_not_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="exists and is not a manifest"):
        write_manifest(path, [Utterance(id="a", corpus="c", audio="a.wav")])
    assert path.read_bytes() == content


def test_any_file_is_replaced_with_force(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    rows = [Utterance(id="a", corpus="c", audio="a.wav")]
    write_manifest(tmp_path / "notes.txt", rows, force=True)
    assert read_manifest(tmp_path / "notes.txt") == rows


def test_pipes_folders_and_broken_links_are_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loose").symlink_to("nowhere")
    (tmp_path / "null").symlink_to("/dev/null")
    with suppress(PermissionError):  # only root can create devices
        os.mknod(tmp_path / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    before = {path: path.lstat().st_mode for path in tmp_path.iterdir()}
    for path in before:
        with pytest.raises(UsageError, match="exists and is not a manifest"):
            write_manifest(path, [Utterance(id="a", corpus="c", audio="a.wav")])
    assert before == {path: path.lstat().st_mode for path in tmp_path.iterdir()}


@pytest.mark.parametrize("start", [HEADER, f"\ufeff{HEADER}\r", ",".join(HEADER.split(",")[::-1]), f"{HEADER},fold"])
def test_an_older_manifest_is_replaced(tmp_path: Path, start: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(start + "\n", encoding="utf-8")
    write_manifest(path, [Utterance(id="a", corpus="c", audio="a.wav")])
    assert len(read_manifest(path)) == 1
