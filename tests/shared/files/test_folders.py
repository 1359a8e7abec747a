import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from foal.shared.files.folders import folder_written_atomically, publish_folder, remove_leftovers


def write(path: Path, text: str) -> None:
    path.mkdir(exist_ok=True)
    (path / "file").write_text(text)


def interrupt(work: Path) -> None:
    write(work, "half")
    raise KeyboardInterrupt


def test_a_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    with folder_written_atomically(target) as work:
        write(work, "new")
        assert not target.exists()
    assert (target / "file").read_text() == "new"
    assert os.listdir(target.parent) == ["target"]


def test_an_existing_folder_is_replaced_completely(tmp_path: Path) -> None:
    write(tmp_path / "target", "old")
    (tmp_path / "target" / "other").write_text("old")
    with folder_written_atomically(tmp_path / "target") as work:
        write(work, "new")
    assert os.listdir(tmp_path / "target") == ["file"]
    assert os.listdir(tmp_path) == ["target"]


def test_an_error_keeps_the_existing_folder(tmp_path: Path) -> None:
    write(tmp_path / "target", "old")
    with pytest.raises(KeyboardInterrupt), folder_written_atomically(tmp_path / "target") as work:
        interrupt(work)
    assert (tmp_path / "target" / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["target"]


def test_a_failed_rename_restores_the_existing_folder(tmp_path: Path) -> None:
    write(tmp_path / "target", "old")
    with pytest.raises(FileNotFoundError):
        publish_folder(tmp_path / "missing", tmp_path / "target")
    assert (tmp_path / "target" / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["target"]


def test_leftovers_of_killed_processes_are_removed_or_restored(tmp_path: Path) -> None:
    ended_process = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    )
    stale = f".tmp-{socket.gethostname()}~{int(ended_process.stdout)}"
    kept = [f".tmp-elsewhere~{int(ended_process.stdout)}~target", f"{stale}~other", f"{stale}~other~target"]
    for name in [*kept, f"{stale}~target"]:
        (tmp_path / name).mkdir()
    write(tmp_path / f"{stale}~previous-target", "old")
    remove_leftovers(tmp_path / "target")
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "target"])
    assert (tmp_path / "target" / "file").read_text() == "old"
    write(tmp_path / f"{stale}~previous-target", "older")
    remove_leftovers(tmp_path / "target")
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "target"])
    assert (tmp_path / "target" / "file").read_text() == "old"
