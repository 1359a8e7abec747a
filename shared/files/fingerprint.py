"""Fingerprints of media files: features belong to a file only as long as its fingerprint stays the same."""

import hashlib
import os
from pathlib import Path

import xxhash

CONTENT = "xxh3:"
"""Prefix of fingerprints that hash the content; the others are size and modification time."""


def media_fingerprint(path: Path, *, content: bool = False) -> str:
    """Fingerprint a media file.

    Args:
        path: the file.
        content: hash the whole content (XXH3-128) instead of taking size and modification time.

    Returns:
        `xxh3:<hash>` or `<bytes>:<nanoseconds>`; empty if the file is missing or unreadable.
    """
    try:
        if not os.access(path, os.R_OK):
            return ""
        # Reading a pipe could take forever.
        if content and path.is_file():
            with path.open("rb", buffering=0) as file:
                return CONTENT + hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()
        status = os.stat(path)
    except OSError:
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}"


def content_hash(path: Path, fingerprint: str) -> str:
    """The content hash (XXH3-128) that belongs to a fingerprint of size and time.

    The whole content is read: a sample of blocks would miss an edited passage of a recording of the same length.

    Args:
        path: the media file.
        fingerprint: its `media_fingerprint` when the work on it began.

    Returns:
        `xxh3:<hash>`; empty if the file is missing or no longer has this fingerprint.
    """
    hashed = media_fingerprint(path, content=True) if fingerprint else ""
    return hashed if hashed.startswith(CONTENT) and media_fingerprint(path) == fingerprint else ""
