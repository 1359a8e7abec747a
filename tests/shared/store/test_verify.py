"""Checks of `foal verify`: the files, the order of the problems, and the damaged files that may be removed."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import h5py
import numpy as np
import pytest

from foal.extract.maintenance.stale import is_deletable_corrupt_shard
from foal.shared.errors import FoalError
from foal.shared.hdf5.seal import write_seal
from foal.shared.store.index_writer import write_index
from foal.shared.store.shard import VERSION
from foal.shared.store.verify import collect_files, verify_files
from foal.shared.utterance import Utterance
from foal.tests.verification import verify_target

MakeFeatures = Callable[..., Path]
EditSealed = Callable[[Path], AbstractContextManager[h5py.File]]
KEY = "a" * 64
KEYS = {"audio": KEY, "face": KEY}


@pytest.fixture
def features(tmp_path: Path, make_features: MakeFeatures, sample_utterances: list[Utterance]) -> Path:
    folder = make_features(tmp_path / "features", sample_utterances, key=KEY)
    write_index(tmp_path / "feats.h5", sample_utterances, folder, KEYS)
    return folder


def reasons_by_path(target: Path) -> dict[str, str]:
    return {path.relative_to(target).as_posix(): reason for path, reason in verify_target(target)[1]}


def test_files_that_are_not_shards_of_their_folder_are_reported_in_order(features: Path) -> None:
    assert verify_target(features) == (6, [])
    folder = features / "session1" / "audio-aaaaaaaa"
    (features / ".foal.lock").write_text("{}")
    (folder / "b.txt").write_text("notes")
    (folder / ".tmp-host~1~x.h5").write_text("half")
    os.mkfifo(folder / "c.h5")
    (folder / "f.h5").symlink_to("nowhere")
    shutil.copy(features / "session1" / "face-aaaaaaaa" / "shard.h5", folder / "g.h5")
    shutil.copy(folder / "shard.h5", folder / "h.h5")  # another name, but intact
    shutil.copy(folder / "shard.h5", features / "x.h5")
    reasons = reasons_by_path(features)
    names = (".tmp-host~1~x.h5", "b.txt", "c.h5", "f.h5", "g.h5")
    assert list(reasons) == ["x.h5", *(f"session1/audio-aaaaaaaa/{name}" for name in names)]
    assert "killed" in reasons["session1/audio-aaaaaaaa/.tmp-host~1~x.h5"]
    assert reasons["session1/audio-aaaaaaaa/b.txt"] == "not written by foal"
    assert "expected a regular file" in reasons["session1/audio-aaaaaaaa/c.h5"]
    assert "no such shard" in reasons["session1/audio-aaaaaaaa/f.h5"]
    assert reasons["session1/audio-aaaaaaaa/g.h5"] == f"expected a shard of this folder, got one of face-{KEY}"
    assert reasons["x.h5"] == f"expected a shard of this folder, got one of audio-{KEY}"
    with pytest.raises(FoalError, match="but there is no such file"):
        verify_target(features / "nowhere")
    assert "expected a regular file" in verify_target(folder / "c.h5")[1][0][1]


def test_linked_folders_are_not_followed(features: Path, tmp_path: Path) -> None:
    (features / "again").symlink_to(features)
    (features / "root").symlink_to("/")
    assert verify_target(features) == (6, [])
    # The target itself may be a link.
    (tmp_path / "link").symlink_to(features)
    assert verify_target(tmp_path / "link") == (6, [])


@pytest.mark.parametrize("mode", [0o000, 0o444], ids=["unreadable", "names only"])
def test_an_unreadable_folder_is_reported(
    features: Path, foal_unprivileged: Callable[..., "subprocess.CompletedProcess[str]"], mode: int
) -> None:
    protected = features / "session2" / "face-aaaaaaaa"
    protected.chmod(mode)
    try:
        result = foal_unprivileged("verify", "features")
    finally:
        protected.chmod(0o755)
    assert result.returncode == 1, result.stderr
    first, last = result.stdout.splitlines()
    assert re.fullmatch(r"features/session2/face-aaaaaaaa(/shard\.h5)?: cannot be read: Permission denied.*", first)
    assert last.startswith("1 problem;")


def test_every_file_is_read_once_and_its_bytes_are_reported(features: Path, tmp_path: Path) -> None:
    jobs = collect_files([features, tmp_path / "feats.h5", features / "session1"])
    assert len(jobs) == len({job.path for job in jobs}) == 7
    counts: list[int] = []
    assert verify_files(jobs, counts.append) == []
    assert 0 <= sum(job.size for job in jobs) - sum(counts) <= 64 * len(jobs)


def test_an_index_that_does_not_match_its_shards_is_reported(
    features: Path, tmp_path: Path, edit_sealed: EditSealed
) -> None:
    index = tmp_path / "feats.h5"
    assert verify_target(index) == (7, [])
    content = index.read_bytes()
    for change in ("row", "checksum", "origin"):
        with edit_sealed(index) as file:
            column = file[f"streams/face/{change}"]
            column[0] = b"0" if change == "checksum" else column[0] + 1
        ((path, reason),) = verify_target(index)[1]
        assert path == index
        assert reason.startswith("its face row of 'u0' does not match ")
        index.write_bytes(content)
    shard = features / "session1" / "face-aaaaaaaa" / "shard.h5"
    other = features / "session2" / "face-aaaaaaaa" / "shard.h5"
    shutil.copyfile(other, shard)
    assert [(path, "not the one that" in reason) for path, reason in verify_target(index)[1]] == [(shard, True)]
    # The folder itself is valid: it may contain utterances twice.
    assert verify_target(features) == (6, [])


def test_nan_in_a_packed_index_is_reported(
    features: Path, tmp_path: Path, sample_utterances: list[Utterance], edit_sealed: EditSealed
) -> None:
    packed = tmp_path / "packed.h5"
    write_index(packed, sample_utterances, features, KEYS, pack=True)
    assert verify_target(packed) == (1, [])
    with edit_sealed(packed) as file:
        file["streams/audio/values"][0, 0] = np.nan
    assert ["do not match their checksum" in reason for _, reason in verify_target(packed)[1]] == [True]


def test_the_verify_command_prints_problems_and_exits_with_1(
    features: Path, tmp_path: Path, foal_here: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    result = foal_here("verify")
    assert result.returncode == 0
    assert re.fullmatch(r"7 files intact, [0-9.,]+ kB at [0-9.,]+ [kMG]?B(ytes)?/s\n", result.stdout)
    shard = features / "session3" / "face-aaaaaaaa" / "shard.h5"
    with shard.open("r+b") as file:
        file.write(b"\0")
    result = foal_here("verify")
    assert result.returncode == 1
    first, last = result.stdout.splitlines()
    assert first.startswith(f"{shard.relative_to(tmp_path)}: damaged (the content does not match its checksum)")
    assert last == "1 problem; `foal extract` recomputes missing and damaged shards"


def test_only_damaged_shards_of_foal_may_be_removed(features: Path, edit_sealed: EditSealed) -> None:
    folder = features / "session1" / "audio-aaaaaaaa"
    intact = (folder / "shard.h5").read_bytes()

    def removable(name: str, content: bytes | None = None) -> bool:
        if content is not None:
            (folder / name).write_bytes(content)
        return is_deletable_corrupt_shard(folder / name, "audio", "aaaaaaaa")

    flipped = bytearray(intact)
    flipped[len(intact) // 2] ^= 1
    assert not removable("shard.h5")
    assert removable("any name.h5", bytes(flipped))
    assert removable("any name.h5", intact[:-1])
    assert removable("0123456789abcdef.h5", intact[:900])
    # A truncated HDF5 file of another program looks the same.
    assert not removable("any name.h5", intact[:900])
    assert removable("any name.h5", b"\0" + intact[1:])
    assert removable("any name.h5", bytes(len(intact) - 64) + intact[-64:])
    for content in (b"", bytes(900), b"text"):
        assert removable("0123456789abcdef.h5", content)
        assert not removable("any name.h5", content)
    for position in range(64):  # every byte of the seal
        for bit in range(8):
            flipped = bytearray(intact)
            flipped[-64 + position] ^= 1 << bit
            assert removable("any name.h5", bytes(flipped))

    # Shards of another folder, of a newer version or without a seal, links, and anything that is not a file are kept.
    assert not removable("b.h5", (features / "session1" / "face-aaaaaaaa" / "shard.h5").read_bytes())
    (folder / "newer.h5").write_bytes(intact)
    with edit_sealed(folder / "newer.h5") as file:
        file.attrs["version"] = VERSION + 1
    assert not removable("newer.h5")
    with h5py.File(folder / "newer.h5", "r+") as file:  # this invalidates its seal
        assert file.attrs["version"] == VERSION + 1
        file.attrs["version"] = VERSION + 2
    assert not removable("newer.h5")
    with h5py.File(folder / "0123456789abcdef.h5", "w") as file:
        file["x"] = 1
    assert not removable("0123456789abcdef.h5")
    write_seal(folder / "0123456789abcdef.h5")
    assert not removable("0123456789abcdef.h5")
    (folder / "any name.h5").write_bytes(bytes(flipped))
    (folder / "link.h5").symlink_to("any name.h5")
    os.mkfifo(folder / "0000000000000000.h5")
    (folder / "0000000000000001.h5").mkdir()
    for name in ("link.h5", "0000000000000000.h5", "0000000000000001.h5", "0000000000000002.h5"):
        assert not removable(name)
