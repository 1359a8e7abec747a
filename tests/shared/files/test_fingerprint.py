"""Fingerprints of media files."""

import os
from pathlib import Path

import pytest
import xxhash

from foal.shared.files.fingerprint import CONTENT, media_fingerprint


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (3 << 20) + 7])
def test_the_complete_content_is_hashed(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "a.wav").write_bytes(content)
    assert media_fingerprint(tmp_path / "a.wav", content=True) == CONTENT + xxhash.xxh3_128(content).hexdigest()


def test_unreadable_files_have_no_fingerprint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing", "missing/in a folder"):
        assert media_fingerprint(tmp_path / name) == media_fingerprint(tmp_path / name, content=True) == ""
    for content in (False, True):
        assert not media_fingerprint(tmp_path / "pipe", content=content).startswith(CONTENT)
    # Reading this file from its beginning raises an I/O error.
    assert media_fingerprint(Path("/proc/self/mem"), content=True) == ""


def test_a_change_of_size_time_or_content_changes_the_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"one")
    os.utime(path, ns=(0, 1))
    first, first_content = media_fingerprint(path), media_fingerprint(path, content=True)
    assert first == "3:1"
    os.utime(path, ns=(0, 2))
    assert media_fingerprint(path) != first
    assert media_fingerprint(path, content=True) == first_content
    path.write_bytes(b"two")
    os.utime(path, ns=(0, 1))
    assert media_fingerprint(path) == first
    assert media_fingerprint(path, content=True) != first_content
