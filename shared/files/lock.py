"""One command at a time writes into a features folder: who holds it, since when, and whether that one still lives."""

import errno
import fcntl
import json
import os
import pwd
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from ..errors import FoalError
from ..text import duration

LOCK_NAME = ".foal.lock"
HEARTBEAT_SECONDS = 30.0
"""Seconds between two signs of life, which are the lock file's time of change: another host cannot ask our kernel."""

_LONGEST = 1000
_LET_REMOVE = "let that user or an administrator remove the file, then run the same command again"


@dataclass(frozen=True, kw_only=True)
class LockOwner:
    """Who holds a folder: a process on a host, since when (ISO 8601, local time), with which command."""

    host: str
    pid: int
    since: str
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since} (`{self.command}`)"


@contextmanager
def features_lock(folder: Path, *, break_lock: bool = False) -> Iterator[str]:
    """Hold a features folder, which is made if need be; gives a sentence about the dead run that had held it, or "".

    The kernel frees the lock of a process that dies, so that a lock of this host is stale once nobody holds it. One of
    another host is believed, unless `break_lock`. Raises FoalError that says who holds the folder and since when.
    """
    path = folder / LOCK_NAME
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    if folder.exists() and not folder.is_dir():
        raise FoalError(f"{folder}: expected a folder for features, got a file")
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle, word = _acquired(path, break_lock=break_lock)
        except FileNotFoundError:
            # Another command, which came to nothing, has just removed the folder that it had made.
            folder.mkdir(parents=True, exist_ok=True)
            handle, word = _acquired(path, break_lock=break_lock)
    except OSError as error:
        place = path if os.path.lexists(path) else folder
        raise FoalError(f"{place}: cannot be written: {os.strerror(error.errno or 0)}") from None
    try:
        me = LockOwner(
            host=socket.gethostname(),
            pid=os.getpid(),
            since=datetime.now().astimezone().isoformat(timespec="seconds"),
            command=" ".join(["foal", *sys.argv[1:]])[:_LONGEST],
        )
        _write(handle, path, me)
        ended = threading.Event()
        living = threading.Thread(target=_live, args=(handle, ended), daemon=True)
        living.start()
        try:
            yield word
        finally:
            ended.set()
            living.join()
            # Somebody may have broken it meanwhile, or thrown the folder away.
            with suppress(OSError):
                if _read(handle) == me and _same(handle, path):
                    path.unlink()
    finally:
        os.close(handle)
        # A command that came to nothing leaves nothing; only an empty folder can be removed in this way.
        with suppress(OSError):
            for place in made:
                place.rmdir()


def _acquired(path: Path, *, break_lock: bool) -> tuple[int, str]:
    """The lock file, held and ours to write, and what is to be said of its holder before. Raises OSError, FoalError."""
    word = ""
    while True:
        handle, held = _open(path)
        try:
            word = _take_over(handle, path, held=held, break_lock=break_lock) or word
            if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR:
                return handle, word
            # Of another user, whose umask keeps us from writing into it. The kernel would lock it for us, but it would
            # go on to name the dead one, and give no sign of life. While we hold it, it may be removed like our own:
            # whoever else has it open sees that it is not the same any more.
            _remove(handle, path)
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _open(path: Path) -> tuple[int, bool | None]:
    """The lock file, and whether another process holds it (None: this file system cannot say).

    It is open for reading alone if we may do no more. Raises OSError, and FoalError if we may not even read it.
    """
    while True:
        handle = _handle(path)
        held: bool | None = False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            held = True if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
        if held or _same(handle, path):
            return handle, held
        # Its holder ended, and removed it between our two steps.
        os.close(handle)


def _handle(path: Path) -> int:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        # The umask decides whether a group may take over what we leave if we are killed.
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
    except PermissionError:
        with suppress(FileNotFoundError):
            try:
                return os.open(path, os.O_RDONLY | flags)
            except PermissionError:
                raise FoalError(
                    f"{path}: expected a lock that says who holds the folder, got one of {_owner(path)} that we may "
                    f"not read; if none of their runs is at work there, {_LET_REMOVE}"
                ) from None
        # There is none, or not any more.
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)


def _remove(handle: int, path: Path) -> None:
    """Remove a lock that nobody holds. Raises FoalError if we may not."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        holder = _read(handle)
        raise FoalError(
            f"{path}: expected a lock that we may write or remove, got one of {_owner(path)} "
            f"({os.strerror(error.errno or 0)}), left by {holder or 'an unknown process'}, which is at work no more; "
            f"{_LET_REMOVE}"
        ) from None


def _owner(path: Path) -> str:
    number = path.lstat().st_uid
    try:
        return f"user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"user {number}"


def _same(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


def _take_over(handle: int, path: Path, *, held: bool | None, break_lock: bool) -> str:
    """What is to be said of the holder before; raises FoalError if it lives, or may."""
    holder, folder = _read(handle), path.parent
    who = str(holder) if holder is not None else "an unknown process"
    here = holder is not None and holder.host == socket.gethostname()
    if held or (held is None and holder is not None and here and _alive(holder.pid)):
        raise FoalError(f"{folder}: in use by {who}; wait for its end, or stop it")
    if holder is None or here:
        return f"{folder}: {who} was killed; its lock is removed" if holder is not None else ""
    if break_lock:
        return f"{folder}: the lock of {who} is broken"
    silent = round(max(0.0, time.time() - os.fstat(handle).st_mtime))
    raise FoalError(
        f"{folder}: in use by {who}, whose last sign of life is {duration(silent)} old (it gives one every "
        f"{HEARTBEAT_SECONDS:.0f} s); wait for its end, or if it is dead: --break-lock"
    )


def _read(handle: int) -> LockOwner | None:
    """What a lock says; None for one that says nothing (its process was killed before it wrote)."""
    with suppress(OSError, LookupError, ValueError, TypeError, RecursionError):
        said = json.loads(os.pread(handle, 1 << 16, 0))
        return LockOwner(
            host=str(said["host"]), pid=int(said["pid"]), since=str(said["since"]), command=str(said["command"])
        )
    return None


def _write(handle: int, path: Path, holder: LockOwner) -> None:
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(asdict(holder)).encode(), 0)
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise FoalError(f"{path}: cannot be written: {os.strerror(error.errno or 0)}") from None


def _live(handle: int, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_SECONDS):
        with suppress(OSError):
            os.utime(handle)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return pid != os.getpid()
