"""Locks: one command at a time writes to a features folder or a run folder; parts of an extraction do so together.

Both rest on `flock`, which the kernel releases when a process ends or is killed. The lock file of a features folder
also names its owner. Each part has a lock file of its own, because parts run on several hosts, and one file names one
owner. The `filelock` package is not used: it cannot lock a folder, and the lock file that it leaves behind keeps other
users of a shared folder out.
"""

import errno
import fcntl
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from ..errors import FoalError, UsageError
from ..text import duration
from ..timing import Seconds
from .part import Part, part_files, part_name

LOCK_NAME = ".foal.lock"
HEARTBEAT_SECONDS: Seconds = 30.0
"""Interval at which the owner updates the lock file's modification time, to show other hosts that it runs."""

MAX_COMMAND_LENGTH = 1000
MAX_RECORD_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class LockOwner:
    """The process that holds a features folder, and since when (ISO 8601, local time)."""

    host: str
    pid: int
    since: str
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since} (`{self.command}`)"

    @classmethod
    def this_process(cls) -> "LockOwner":
        """The record of the running command."""
        return cls(
            host=socket.gethostname(),
            pid=os.getpid(),
            since=datetime.now().astimezone().isoformat(timespec="seconds"),
            command=" ".join(["foal", *sys.argv[1:]])[:MAX_COMMAND_LENGTH],
        )


@contextmanager
def exclusive_lock(path: Path, message: str) -> Iterator[None]:
    """Hold an existing file or folder while the block runs; raise UsageError with `message` if it is held already."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _flock(handle) is False:
            raise UsageError(message)
        yield
    finally:
        os.close(handle)


@contextmanager
def features_lock(folder: Path, *, part: Part | None = None, break_lock: bool = False) -> Iterator[str]:
    """Hold a features folder while the block runs; create it if necessary, remove it again if it stays empty.

    A lock of this host whose process has ended is taken over. A lock of another host counts as held.

    Args:
        folder: the features folder.
        part: hold it for this part only: other parts of the same number of parts may hold it, too.
        break_lock: take over the locks of other hosts.

    Yields:
        A sentence about the previous owners whose locks were taken over, or "".

    Raises:
        FoalError: the folder is held (the message names the owner) or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise FoalError(f"{folder}: expected a folder for features, got a file")
    path, is_new = folder / part_name(LOCK_NAME, part), not folder.exists()
    try:
        handle = _open_locked(path, break_lock=break_lock)
    except OSError as error:
        place = path if os.path.lexists(path) else folder
        raise FoalError(f"{place}: cannot be written: {os.strerror(error.errno or 0)}") from None
    try:
        previous, owner = _read_owner(handle), LockOwner.this_process()
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(asdict(owner)).encode(), 0)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise FoalError(f"{path}: cannot be written: {os.strerror(error.errno or 0)}") from None
        try:
            # After the own lock can be seen: of two commands that start at the same moment at least one sees the other.
            others = _check_others(folder, part, break_lock=break_lock)
            ended = " and ".join(str(owner) for owner in (previous, *others) if owner is not None)
            with _heartbeat(handle):
                yield f"{folder}: removed the stale lock of {ended}" if ended else ""
        finally:
            # With --break-lock another command may own the file by now.
            with suppress(OSError):
                if _read_owner(handle) == owner and _is_at(handle, path):
                    path.unlink()
    finally:
        os.close(handle)
        if is_new:
            with suppress(OSError):
                folder.rmdir()


def _open_locked(path: Path, *, break_lock: bool) -> int:
    """The descriptor of the lock file, locked. Raises FoalError if it is held, OSError if it cannot be opened."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # The umask decides whether a group may take over the lock of a killed process.
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            handle = os.open(path, flags, 0o666)
        except FileNotFoundError:
            continue  # its owner has just removed the empty folder
        try:
            locked = _flock(handle)
            _check_owner(handle, path.parent, locked=locked, break_lock=break_lock)
        except BaseException:
            os.close(handle)
            raise
        if _is_at(handle, path):
            return handle
        os.close(handle)  # its owner removed the file between our two steps


def _check_others(folder: Path, part: Part | None, *, break_lock: bool) -> list[LockOwner | None]:
    """Raise FoalError if a lock is held that excludes this one; return the owners of those that were removed."""
    parts = part_files(folder, LOCK_NAME)
    if part is None:
        excluding = dict.fromkeys(parts, "")
    else:
        overlaps = f", whose parts overlap with part {part}"
        excluding = {folder / LOCK_NAME: ""}
        excluding |= {path: overlaps for path, other in parts.items() if other.count != part.count}
    removed: list[LockOwner | None] = []
    for path, why in excluding.items():
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise FoalError(f"{path}: cannot be read: {os.strerror(error.errno or 0)}") from None
        try:
            # Shared, because parts that start at the same moment look at the same files.
            _check_owner(handle, folder, locked=_flock(handle, fcntl.LOCK_SH), break_lock=break_lock, why=why)
            # A part leaves the lock of a killed run alone: while it is removed, another part would take it for held.
            if (part is None or break_lock) and _flock(handle) is not False and _is_at(handle, path):
                removed.append(_read_owner(handle))
                path.unlink()
        finally:
            os.close(handle)
    return removed


def _check_owner(handle: int, folder: Path, *, locked: bool | None, break_lock: bool, why: str = "") -> None:
    """Raise FoalError if the recorded owner still holds the folder, or may do so; `why` it excludes this command."""
    owner = _read_owner(handle)
    if locked is False:
        raise FoalError(f"{folder}: in use by {owner or 'an unknown process'}{why}; wait until it ends, or stop it")
    # Only the host of the process can check that it is alive, and only if the file system supports locks.
    unknown = owner is not None and (owner.host != socket.gethostname() or locked is None)
    if unknown and not break_lock:
        silent = round(max(0.0, time.time() - os.fstat(handle).st_mtime))
        raise FoalError(
            f"{folder}: in use by {owner}{why}; its last heartbeat was {duration(silent)} ago (expected every "
            f"{HEARTBEAT_SECONDS:.0f} s); wait until it ends, or use --break-lock if it is dead"
        )


def _flock(handle: int, kind: int = fcntl.LOCK_EX) -> bool | None:
    """Whether the lock was acquired; None on file systems without locks."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
    return True


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


def _read_owner(handle: int) -> LockOwner | None:
    """The recorded owner; None if its process was killed before it wrote the record."""
    with suppress(OSError, LookupError, ValueError, TypeError, RecursionError):
        record = json.loads(os.pread(handle, MAX_RECORD_BYTES, 0))
        return LockOwner(
            host=str(record["host"]),
            pid=int(record["pid"]),
            since=str(record["since"]),
            command=str(record["command"]),
        )
    return None


@contextmanager
def _heartbeat(handle: int) -> Iterator[None]:
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):
                os.utime(handle)

    thread = threading.Thread(target=beat, name="foal-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
