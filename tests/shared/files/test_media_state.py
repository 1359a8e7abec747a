"""Media files compared with the fingerprints in shards: copied, edited, renamed and missing ones."""

import os
import shutil
from pathlib import Path

import pytest

from foal.shared.files.fingerprint import content_hash, media_fingerprint
from foal.shared.files.media_state import MEDIA_TIMES, MediaFingerprints, MediaState


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[str, str]:
    """Fingerprint and content hash of corpus/a.wav as a shard has them."""
    path = tmp_path / "corpus" / "a.wav"
    path.parent.mkdir()
    path.write_bytes(b"sound" * 1000)
    os.utime(path, ns=(5, 5))
    fingerprint = media_fingerprint(path)
    return fingerprint, content_hash(path, fingerprint)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return tmp_path / "corpus"


def test_a_copied_file_is_read_once_and_then_remembered(
    tmp_path: Path, corpus: Path, recorded: tuple[str, str]
) -> None:
    features = tmp_path / "features"
    features.mkdir()
    shutil.copy(corpus / "a.wav", corpus / "copy.wav")
    (corpus / "copy.wav").replace(corpus / "a.wav")
    media = MediaFingerprints(corpus, features)
    assert media.state("a.wav", *recorded) is MediaState.TIME_ONLY
    assert media.unchanged("a.wav", *recorded)
    media.remember()
    rows = (features / MEDIA_TIMES).read_text().splitlines()
    assert rows == ["media,fingerprint,content", f"a.wav,{media_fingerprint(corpus / 'a.wav')},{recorded[1]}"]

    # Other bytes under the same size and time: only a run that does not read them calls the file the same.
    status = (corpus / "a.wav").stat()
    (corpus / "a.wav").write_bytes(b"noise" * 1000)
    os.utime(corpus / "a.wav", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert MediaFingerprints(corpus, features).state("a.wav", *recorded) is MediaState.TIME_ONLY
    assert MediaFingerprints(corpus).state("a.wav", *recorded) is MediaState.CONTENT


def test_a_damaged_memory_is_ignored_and_replaced(tmp_path: Path, corpus: Path, recorded: tuple[str, str]) -> None:
    os.utime(corpus / "a.wav", ns=(9, 9))
    for damage in (b"", b"\xff\xfe", b"media,fingerprint,content\na.wav\na.wav,5000:9,md5:1\n", b'media\n"'):
        (tmp_path / MEDIA_TIMES).write_bytes(damage)
        media = MediaFingerprints(corpus, tmp_path)
        assert media.state("a.wav", *recorded) is MediaState.TIME_ONLY
        media.remember()
        assert recorded[1] in (tmp_path / MEDIA_TIMES).read_text()


def test_two_commands_keep_the_rows_of_each_other(tmp_path: Path, corpus: Path, recorded: tuple[str, str]) -> None:
    shutil.copy(corpus / "a.wav", corpus / "b.wav")
    first, second = MediaFingerprints(corpus, tmp_path), MediaFingerprints(corpus, tmp_path)
    os.utime(corpus / "a.wav", ns=(9, 9))
    for media, name in ((first, "a.wav"), (second, "b.wav")):
        assert media.unchanged(name, *recorded)
    first.remember()
    second.remember()
    assert len((tmp_path / MEDIA_TIMES).read_text().splitlines()) == 3


def test_states_of_changed_files(corpus: Path, recorded: tuple[str, str]) -> None:
    path = corpus / "a.wav"
    fingerprint, content = recorded

    def state(*stored: str) -> MediaState:
        return MediaFingerprints(corpus).state("a.wav", *stored)

    assert state(*recorded) is state("", "") is MediaState.SAME
    path.write_bytes(b"noise" * 1000)
    assert state(*recorded) is MediaState.CONTENT
    assert state(fingerprint) is MediaState.TIME  # a shard without content hash
    assert state(content) is MediaState.CONTENT  # a fingerprint that is a content hash
    path.write_bytes(b"longer" * 1000)
    assert state(*recorded) is state(fingerprint) is MediaState.SIZE
    path.unlink()
    assert state(*recorded) is MediaState.SAME


def test_a_file_that_changes_while_it_is_hashed_has_no_content_hash(corpus: Path, recorded: tuple[str, str]) -> None:
    assert (
        content_hash(corpus / "a.wav", recorded[0]) == recorded[1] == media_fingerprint(corpus / "a.wav", content=True)
    )
    os.utime(corpus / "a.wav", ns=(9, 9))
    assert content_hash(corpus / "a.wav", recorded[0]) == ""
    assert content_hash(corpus / "nowhere.wav", "") == ""


def test_names_in_other_case_are_the_same_file_where_the_file_system_says_so(corpus: Path, recorded: object) -> None:
    media = MediaFingerprints(corpus)
    assert not media.same_file("a.wav", "A.WAV")
    (corpus / "A.WAV").hardlink_to(corpus / "a.wav")  # stands for a file system without case
    assert media.same_file("a.wav", "A.WAV")
