import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from foal.shared.errors import FoalError, UsageError
from foal.train.folder import new_run

RUN = {"protocol": "loso-nested", "features": "0", "folds": []}


def write(folder: Path, text: str) -> None:
    (folder / "metrics.json").write_text(json.dumps({**RUN, "text": text}))


def interrupt(folder: Path) -> None:
    write(folder, "half")
    raise KeyboardInterrupt


def text_in(folder: Path) -> str:
    return str(json.loads((folder / "metrics.json").read_text())["text"])


def test_appears_whole_and_replaces_whole(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "both"
    with new_run(out) as folder:
        write(folder, "first")
        (folder / "models").mkdir()
        assert not out.exists()
    with new_run(out) as folder:
        write(folder, "second")
        assert text_in(out) == "first"
    assert text_in(out) == "second"
    assert not (out / "models").exists()
    assert os.listdir(out.parent) == ["both"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "both"
    with new_run(out) as folder:
        write(folder, "first")
    with pytest.raises(KeyboardInterrupt), new_run(out) as folder:
        interrupt(folder)
    assert text_in(out) == "first"
    assert os.listdir(tmp_path) == ["both"]


def test_nothing_but_a_run_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "metrics.json").write_text('{"accuracy": 1}')
    (tmp_path / "notes.txt").write_text("mine")
    for name in ("thesis", "notes.txt", "."):
        with pytest.raises(UsageError, match="expected a new folder or an older run"), new_run(tmp_path / name):
            pass
    (tmp_path / "empty").mkdir()
    with new_run(tmp_path / "empty") as folder:
        write(folder, "fine")
    assert text_in(tmp_path / "empty") == "fine"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FoalError, match=r"file/run: cannot be written: \w+"), new_run(tmp_path / "file" / "run"):
        pass


def test_a_run_to_which_somebody_added_a_file_is_not_replaced(tmp_path: Path) -> None:
    with new_run(tmp_path / "both") as folder:
        write(folder, "first")
    (tmp_path / "both" / "notes.md").write_text("mine")
    with pytest.raises(UsageError), new_run(tmp_path / "both"):
        pass
    assert (tmp_path / "both" / "notes.md").read_text() == "mine"


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "both").symlink_to(tmp_path / "disk")
    for text in ("first", "second"):
        with new_run(tmp_path / "both") as folder:
            write(folder, text)
    assert (tmp_path / "both").is_symlink()
    assert text_in(tmp_path / "both") == "second"
    assert sorted(os.listdir(tmp_path)) == ["both", "disk"]


def test_leftovers_of_killed_runs_are_swept(tmp_path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    here = f".tmp-{socket.gethostname()}"
    gone, mine, busy = f"{here}~{int(dead.stdout)}", f"{here}~{os.getpid()}", f"{here}~{os.getppid()}"
    (tmp_path / f"{gone}~both" / "models").mkdir(parents=True)
    (tmp_path / f"{gone}~older-both").mkdir()
    write(tmp_path / f"{gone}~older-both", "older")
    (tmp_path / f"{mine}~both").mkdir()  # of a process that had our number before us
    kept = [f"{busy}~both", f".tmp-elsewhere~{int(dead.stdout)}~both", f"{gone}~other"]
    for name in kept:
        (tmp_path / name).mkdir()
    with pytest.raises(KeyboardInterrupt), new_run(tmp_path / "both") as folder:
        interrupt(folder)
    assert text_in(tmp_path / "both") == "older"
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "both"])
