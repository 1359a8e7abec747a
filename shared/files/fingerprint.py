"""What tells whether a media file is still the one that features were computed from."""

import os
import threading
from pathlib import Path
from queue import Empty, SimpleQueue

import xxhash

from ..timing import Seconds

CONTENT = "xxh3:"
"""How a fingerprint begins that is a hash of the file's content; the others are size and time of change."""

SILENCE: Seconds = 300.0
"""A file of which nothing comes for so long is one that cannot be read; a disk that has to wake takes ten seconds."""

_PIECE = 1 << 20


def media_fingerprint(path: Path, *, content: bool = False, silence: Seconds = SILENCE) -> str:
    """Size in bytes and time of change of a media file, or a hash of its content; empty where none can be read.

    To read the content takes as long as it takes, but no more than `silence` seconds from one megabyte to the next.
    """
    try:
        if not os.access(path, os.R_OK):
            return ""
        # To read a pipe could take forever.
        if content and path.is_file():
            return _content(path, silence)
        status = os.stat(path)
    except OSError:
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}"


def _content(path: Path, silence: Seconds) -> str:
    """The hash, or nothing if no more comes. Raises OSError."""
    digest, came = xxhash.xxh3_128(), SimpleQueue[bool | OSError]()

    def read() -> None:
        piece = memoryview(bytearray(_PIECE))
        try:
            with path.open("rb", buffering=0) as file:
                while count := file.readinto(piece):
                    digest.update(piece[:count])
                    came.put(True)
            came.put(False)
        except OSError as error:
            came.put(error)

    # A daemon: whoever waits inside the system cannot be woken, and must not keep the command from ending.
    threading.Thread(target=read, name="foal-fingerprint", daemon=True).start()
    try:
        while more := came.get(timeout=silence):
            if isinstance(more, OSError):
                raise more
    except Empty:
        return ""
    return CONTENT + str(digest.hexdigest())
