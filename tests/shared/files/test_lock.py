"""One command at a time: who holds a folder is named, and the lock of a dead process is none."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from foal.shared.errors import FoalError
from foal.shared.files.lock import LOCK_NAME, features_lock

HOLD = "import sys, time; from pathlib import Path; from foal.shared.files.lock import locked\n"
HOLD += "with locked(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(600)"


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_folder_is_held_once(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    for break_lock in (False, True):
        with pytest.raises(FoalError) as on_bytes, features_lock(tmp_path, break_lock=break_lock):
            pass
        assert f"in use by process {holder.pid} on {socket.gethostname()} since 20" in str(on_bytes.value)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with features_lock(tmp_path) as word:
        assert f"process {holder.pid}" in word
        assert "was killed; its lock is removed" in word
    assert not list(tmp_path.iterdir())


def test_it_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), features_lock(tmp_path / "new" / "folder"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    with features_lock(tmp_path / "new") as word:
        assert word == ""
        (tmp_path / "new" / "shard").touch()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["shard"]


def test_a_lock_of_another_host_is_believed(tmp_path: Path) -> None:
    said = {"host": "elsewhere", "pid": 7, "since": "2026-01-02T03:04:05+00:00", "command": "foal extract -s all"}
    (tmp_path / LOCK_NAME).write_text(json.dumps(said))
    ago = time.time() - 7500
    os.utime(tmp_path / LOCK_NAME, (ago, ago))
    with pytest.raises(FoalError) as on_bytes, features_lock(tmp_path):
        pass
    for words in ("process 7 on elsewhere since 2026-01-02", "2 h 5 min old", "`foal extract -s all`", "--break-lock"):
        assert words in str(on_bytes.value)
    assert json.loads((tmp_path / LOCK_NAME).read_text()) == said
    with features_lock(tmp_path, break_lock=True) as word:
        assert "is broken" in word
        assert json.loads((tmp_path / LOCK_NAME).read_text())["host"] == socket.gethostname()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}', "[" * 5000, "\0" * 99])
def test_a_lock_that_says_nothing_is_of_a_dead_process(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK_NAME).write_text(content)
    with features_lock(tmp_path) as word:
        assert word == ""


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(FoalError, match=r"expected a folder|cannot be written"), features_lock(place):
            pass


def test_a_lock_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / LOCK_NAME).symlink_to(tmp_path / "precious")
    with pytest.raises(FoalError), features_lock(tmp_path / "features"):
        pass
    assert (tmp_path / "precious").read_text() == "mine"


def test_whoever_lost_the_lock_leaves_that_of_the_other(tmp_path: Path) -> None:
    with features_lock(tmp_path):
        (tmp_path / LOCK_NAME).unlink()
        with features_lock(tmp_path):
            pass
        (tmp_path / LOCK_NAME).write_text("another's")
    assert (tmp_path / LOCK_NAME).read_text() == "another's"


OURS = """
import os, sys
from pathlib import Path
from foal.shared.errors import FoalError
from foal.shared.files.lock import LOCK_NAME, locked
folder = Path(sys.argv[1])
os.umask(2)
try:
    with locked(folder) as word:
        print(word, oct((folder / LOCK_NAME).stat().st_mode), (folder / LOCK_NAME).read_text())
except FoalError as error:
    print(error)
"""
ANOTHER = 12345
AsOneOfMany = Callable[[Path], str]
SAID = '{"host": "%s", "pid": %d, "since": "2026-01-02T03:04:05+00:00", "command": "foal extract -s all"}'


@pytest.fixture
def as_one_of_many(somebody: list[str]) -> Callable[[Path], str]:
    """What a process says that takes the lock and that others' permissions hold for."""
    if os.geteuid() != 0:
        pytest.skip("only root can make files of another user")

    def run(folder: Path) -> str:
        command = [*somebody, sys.executable, "-c", OURS, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert not done.stderr
        return done.stdout

    return run


def left_by_another(folder: Path, *, mode: int = 0o644, host: str | None = None) -> Path:
    lock = folder / LOCK_NAME
    lock.write_text(SAID % (host or socket.gethostname(), 7))
    lock.chmod(mode)
    os.chown(lock, ANOTHER, ANOTHER)
    return lock


def test_the_umask_decides_who_may_take_over_a_lock(tmp_path: Path, as_one_of_many: AsOneOfMany) -> None:
    assert oct(0o100664) in as_one_of_many(tmp_path)


def test_the_lock_of_a_dead_run_of_another_user_is_removed(tmp_path: Path, as_one_of_many: AsOneOfMany) -> None:
    left_by_another(tmp_path)
    said = as_one_of_many(tmp_path)
    assert "process 7 on " in said
    assert "was killed; its lock is removed" in said
    assert oct(0o100664) in said, "a lock of one's own takes its place"
    assert '"pid": 7,' not in said
    assert not list(tmp_path.iterdir())


def test_the_lock_of_a_living_run_of_another_user_is_believed(
    tmp_path: Path, holder: "subprocess.Popen[str]", as_one_of_many: AsOneOfMany
) -> None:
    lock = tmp_path / LOCK_NAME
    lock.chmod(0o644)
    os.chown(lock, ANOTHER, ANOTHER)
    assert f"in use by process {holder.pid} on {socket.gethostname()} since 20" in as_one_of_many(tmp_path)
    assert json.loads(lock.read_text())["pid"] == holder.pid


def test_the_lock_of_another_user_on_another_host_is_believed(tmp_path: Path, as_one_of_many: AsOneOfMany) -> None:
    lock = left_by_another(tmp_path, host="elsewhere")
    said = as_one_of_many(tmp_path)
    assert "in use by process 7 on elsewhere" in said
    assert "--break-lock" in said
    assert lock.exists()


@pytest.mark.parametrize(
    ("mode", "folder_mode", "words"),
    [
        (
            0o644,
            0o1777,
            ("that we may write or remove", "user 12345", "process 7 on", "at work no more", "let that user"),
        ),
        (0o600, 0o777, ("that we may not read", "user 12345", "let that user")),
    ],
)
def test_a_lock_of_another_user_that_has_to_stay_is_explained(
    tmp_path: Path, as_one_of_many: AsOneOfMany, mode: int, folder_mode: int, words: tuple[str, ...]
) -> None:
    lock = left_by_another(tmp_path, mode=mode)
    tmp_path.chmod(folder_mode)
    os.chown(tmp_path, ANOTHER, ANOTHER)
    said = as_one_of_many(tmp_path)
    assert str(lock) in said
    assert all(word in said for word in words), said
    assert lock.exists()
