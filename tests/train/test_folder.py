import json
import os
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
        (folder / "extra").mkdir()
        assert not out.exists()
    with new_run(out) as folder:
        write(folder, "second")
        assert text_in(out) == "first"
    assert text_in(out) == "second"
    assert not (out / "extra").exists()
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


def test_leftovers_of_killed_runs_are_swept(tmp_path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    pid = int(dead.stdout)
    (tmp_path / f".tmp-{pid}-both" / "models").mkdir(parents=True)
    (tmp_path / f".tmp-{pid}.old-both").mkdir()
    write(tmp_path / f".tmp-{pid}.old-both", "older")
    (tmp_path / f".tmp-{os.getppid()}-both").mkdir()  # of somebody who is at work
    (tmp_path / f".tmp-{pid}-other").mkdir()
    with pytest.raises(KeyboardInterrupt), new_run(tmp_path / "both") as folder:
        interrupt(folder)
    assert text_in(tmp_path / "both") == "older"
    left = [f".tmp-{os.getppid()}-both", f".tmp-{pid}-other", "both"]
    assert sorted(os.listdir(tmp_path)) == sorted(left)
