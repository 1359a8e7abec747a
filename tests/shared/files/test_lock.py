"""Locks: one command at a time, an error that names the owner, and takeover of stale locks."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from foal.shared.errors import FoalError, UsageError
from foal.shared.files.lock import LOCK_NAME, exclusive_lock, features_lock
from foal.shared.files.part import Part, part_name

HOLD = """
import sys, time
from pathlib import Path
from foal.shared.files.lock import features_lock
from foal.shared.files.part import Part
with features_lock(Path(sys.argv[1]), part=Part.parse(sys.argv[2]) if sys.argv[2:] else None):
    print("held", flush=True)
    time.sleep(600)
"""


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


def part(text: str) -> Part | None:
    """A part, or None for a whole run ("")."""
    return Part.parse(text) if text else None


@pytest.mark.parametrize(
    ("held", "asked", "why"),
    [
        ("1/4", "1/4", ""),
        ("1/4", "", ""),
        ("", "1/4", ""),
        ("1/4", "2/3", ", whose parts overlap with part 2/3"),
    ],
)
def test_a_part_excludes_itself_whole_runs_and_other_numbers_of_parts(
    tmp_path: Path, held: str, asked: str, why: str
) -> None:
    with features_lock(tmp_path, part=part(held)):
        for break_lock in (False, True):
            with (
                pytest.raises(FoalError) as caught,
                features_lock(tmp_path, part=part(asked), break_lock=break_lock),
            ):
                pass
            message = str(caught.value)
            assert message.startswith(f"{tmp_path}: in use by process {os.getpid()} on {socket.gethostname()} since 20")
            assert message.endswith(f"`){why}; wait until it ends, or stop it")
        assert [path.name for path in tmp_path.iterdir()] == [part_name(LOCK_NAME, part(held))]
    with features_lock(tmp_path, part=part(asked)) as notice:
        assert notice == ""
    assert not list(tmp_path.iterdir())


def test_parts_of_the_same_number_hold_a_folder_together(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    with ExitStack() as stack:
        for number in range(1, 5):
            assert stack.enter_context(features_lock(folder, part=Part(number=number, count=4))) == ""
        assert len(list(folder.iterdir())) == 4
    assert not folder.exists()


def test_the_lock_of_a_killed_part_is_taken_over_by_its_rerun_or_by_a_whole_run(tmp_path: Path) -> None:
    for rerun in ("2/4", ""):
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path), "2/4"], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            process.kill()
        # Another part and another number of parts leave it alone.
        for other in ("1/4", "1/3"):
            with features_lock(tmp_path, part=part(other)) as notice:
                assert notice == ""
        with features_lock(tmp_path, part=part(rerun)) as notice:
            assert notice.startswith(f"{tmp_path}: removed the stale lock of process {process.pid} on ")
        assert not list(tmp_path.iterdir())


def test_parts_of_other_hosts_count_as_held_unless_broken(tmp_path: Path) -> None:
    record = {"host": "elsewhere", "pid": 7, "since": "2026-01-02T03:04:05+00:00", "command": "foal extract"}
    path = tmp_path / ".foal.part-2-of-4.lock"
    path.write_text(json.dumps(record))
    for asked in ("", "2/4", "1/3"):
        with (
            pytest.raises(FoalError, match=r"process 7 on elsewhere .* --break-lock"),
            features_lock(tmp_path, part=part(asked)),
        ):
            pass
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    with features_lock(tmp_path, part=part("1/4"), break_lock=True) as notice:
        assert notice == ""
    for asked in ("", "2/4", "1/3"):
        path.write_text(json.dumps(record))
        with features_lock(tmp_path, part=part(asked), break_lock=True) as notice:
            assert notice.startswith(f"{tmp_path}: removed the stale lock of process 7 on elsewhere")
        assert not list(tmp_path.iterdir())


def test_a_symbolic_link_as_the_lock_of_a_part_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("content")
    (tmp_path / ".foal.part-2-of-4.lock").symlink_to(tmp_path / "target")
    with pytest.raises(FoalError, match=r"part-2-of-4.lock: cannot be read"), features_lock(tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"target", ".foal.part-2-of-4.lock"}


def test_an_exclusive_lock_is_held_once_and_released_after_an_error(tmp_path: Path) -> None:
    message = "the run is in use"
    with exclusive_lock(tmp_path, ""), pytest.raises(UsageError, match=message), exclusive_lock(tmp_path, message):
        pass
    with pytest.raises(ZeroDivisionError), exclusive_lock(tmp_path, ""):
        raise ZeroDivisionError
    with exclusive_lock(tmp_path, ""):
        assert not list(tmp_path.iterdir())
