"""What tells whether a media file is still the same."""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import xxhash

from foal.shared.files.fingerprint import CONTENT, media_fingerprint


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (3 << 20) + 7])
def test_the_content_is_hashed_whole(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "a.wav").write_bytes(content)
    assert media_fingerprint(tmp_path / "a.wav", content=True) == CONTENT + xxhash.xxh3_128(content).hexdigest()


def test_what_cannot_be_read_has_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing", "missing/in a folder"):
        assert media_fingerprint(tmp_path / name) == media_fingerprint(tmp_path / name, content=True) == ""
    for content in (False, True):
        assert not media_fingerprint(tmp_path / "pipe", content=content).startswith(CONTENT)
    # Read from its beginning, this one gives an error of the disk.
    assert media_fingerprint(Path("/proc/self/mem"), content=True) == ""


def test_a_file_that_never_answers_has_none(
    tmp_path: Path, silent: Callable[[Path], AbstractContextManager[None]]
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"sound")
    with silent(path):
        began = time.monotonic()
        assert media_fingerprint(path, content=True, silence=1.0) == ""
        assert time.monotonic() - began < 20
    assert media_fingerprint(path, content=True, silence=60.0).startswith(CONTENT)
