"""What tells whether a media file is still the one that features were computed from."""

import hashlib
import os
from pathlib import Path

import xxhash

CONTENT = "xxh3:"
"""How a fingerprint begins that is a hash of the file's content; the others are size and time of change."""


def media_fingerprint(path: Path, *, content: bool = False) -> str:
    """Size in bytes and time of change of a media file, or a hash of its content; empty where none can be read."""
    try:
        if not os.access(path, os.R_OK):
            return ""
        # To read a pipe could take forever.
        if content and path.is_file():
            with path.open("rb") as file:
                return CONTENT + hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()
        status = os.stat(path)
    except OSError:
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}"
