"""Locks: one command at a time, an error that names the owner, and takeover of stale locks."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from foal.shared.errors import FoalError, UsageError
from foal.shared.files.lock import LOCK_NAME, exclusive_lock, features_lock

HOLD = "import sys, time; from pathlib import Path; from foal.shared.files.lock import features_lock\n"
HOLD += "with features_lock(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(600)"


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_features_folder_is_locked_once_and_unlocked_by_a_kill(
    tmp_path: Path, holder: "subprocess.Popen[str]"
) -> None:
    for break_lock in (False, True):
        with pytest.raises(FoalError) as caught, features_lock(tmp_path, break_lock=break_lock):
            pass
        assert f"in use by process {holder.pid} on {socket.gethostname()} since 20" in str(caught.value)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with features_lock(tmp_path) as notice:
        assert notice.startswith(f"{tmp_path}: removed the stale lock of process {holder.pid} on ")
    assert not list(tmp_path.iterdir())


def test_a_lock_is_released_after_an_error_and_leaves_no_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), features_lock(tmp_path / "new" / "folder"):
        raise ZeroDivisionError
    assert not (tmp_path / "new" / "folder").exists()
    with features_lock(tmp_path / "new") as notice:
        assert notice == ""
        (tmp_path / "new" / "shard").touch()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["shard"]


def test_a_lock_of_another_host_counts_as_held_unless_broken(tmp_path: Path) -> None:
    record = {"host": "elsewhere", "pid": 7, "since": "2026-01-02T03:04:05+00:00", "command": "foal extract -s all"}
    (tmp_path / LOCK_NAME).write_text(json.dumps(record))
    modified = time.time() - 7500
    os.utime(tmp_path / LOCK_NAME, (modified, modified))
    with pytest.raises(FoalError) as caught, features_lock(tmp_path):
        pass
    for expected in (
        "process 7 on elsewhere since 2026-01-02",
        "2 h 5 min ago",
        "`foal extract -s all`",
        "--break-lock",
    ):
        assert expected in str(caught.value)
    assert json.loads((tmp_path / LOCK_NAME).read_text()) == record
    with features_lock(tmp_path, break_lock=True) as notice:
        assert "removed the stale lock of process 7 on elsewhere" in notice
        assert json.loads((tmp_path / LOCK_NAME).read_text())["host"] == socket.gethostname()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}', "[" * 5000, "\0" * 99])
def test_a_lock_without_a_valid_record_is_stale(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK_NAME).write_text(content)
    with features_lock(tmp_path) as notice:
        assert notice == ""


def test_a_folder_that_cannot_be_created_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(FoalError, match=r"expected a folder|cannot be written"), features_lock(folder):
            pass


def test_a_symbolic_link_as_lock_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("content")
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / LOCK_NAME).symlink_to(tmp_path / "target")
    with pytest.raises(FoalError), features_lock(tmp_path / "features"):
        pass
    assert (tmp_path / "target").read_text() == "content"


def test_the_lock_file_of_another_owner_is_not_removed(tmp_path: Path) -> None:
    with features_lock(tmp_path):
        (tmp_path / LOCK_NAME).unlink()
        with features_lock(tmp_path):
            pass
        (tmp_path / LOCK_NAME).write_text("another's")
    assert (tmp_path / LOCK_NAME).read_text() == "another's"


def test_an_exclusive_lock_is_held_once_and_released_after_an_error(tmp_path: Path) -> None:
    message = "the run is in use"
    with exclusive_lock(tmp_path, ""), pytest.raises(UsageError, match=message), exclusive_lock(tmp_path, message):
        pass
    with pytest.raises(ZeroDivisionError), exclusive_lock(tmp_path, ""):
        raise ZeroDivisionError
    with exclusive_lock(tmp_path, ""):
        assert not list(tmp_path.iterdir())
