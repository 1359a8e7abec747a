"""Opening foal's HDF5 files: other formats, older and newer versions, and damaged files are distinguished."""

import math
import os
from pathlib import Path
from typing import Any

import h5py
import pytest

from foal.shared.errors import StoreError
from foal.shared.hdf5.checked_reader import write_attributes
from foal.shared.hdf5.opening import FileFormat, FutureError, open_hdf5, sniff
from foal.shared.hdf5.seal import SEAL_SIZE, write_seal

FORMAT = FileFormat(
    name="foal-test",
    version=4,
    label="test",
    missing="no such test file; create it",
    damaged="repair it",
    older="run `foal test` again",
)


def write(path: Path, *, seal: bool = True, version: int = 4, **attributes: str) -> Path:
    with h5py.File(path, "w") as file:
        write_attributes(file.attrs, **({"format": FORMAT.name, "version": version} | attributes))
        file["ids"] = [1, 2, 3]
    if seal:
        write_seal(path)
    return path


def refusal(path: Path, *, verify: bool = True) -> StoreError:
    with pytest.raises(StoreError) as caught:
        open_hdf5(path, FORMAT, verify_up_to_bytes=math.inf if verify else 0)
    return caught.value


def test_a_sealed_file_of_the_right_format_is_opened(tmp_path: Path) -> None:
    root = open_hdf5(write(tmp_path / "a.h5"), FORMAT, verify_up_to_bytes=math.inf)
    try:
        assert root.integer("version") == 4
        assert root.size == (tmp_path / "a.h5").stat().st_size
    finally:
        root.close()


@pytest.mark.parametrize("seal", [True, False], ids=["sealed", "without a seal"])
def test_a_file_of_an_older_version_is_refused_with_a_remedy(tmp_path: Path, seal: bool) -> None:
    path = write(tmp_path / "old.h5", version=3, seal=seal)
    error = refusal(path)
    assert str(error) == f"{path}: test format 3 (foal 0.1); this version reads format 4; run `foal test` again"
    assert not isinstance(error, FutureError)


@pytest.mark.parametrize("seal", [True, False], ids=["sealed", "without a seal"])
def test_a_file_of_a_newer_version_is_a_future_error(tmp_path: Path, seal: bool) -> None:
    path = write(tmp_path / "new.h5", version=99, seal=seal)
    error = refusal(path)
    assert isinstance(error, FutureError)
    assert (
        str(error)
        == f"{path}: test format 99 (written by a newer version of foal); this version reads format 4; update foal"
    )


def test_a_damaged_file_of_another_version_is_reported_as_damaged(tmp_path: Path) -> None:
    path = write(tmp_path / "new.h5", version=99)
    with path.open("r+b") as raw:
        raw.seek(-1 - SEAL_SIZE, os.SEEK_END)
        raw.write(b"?")
    for verify in (False, True):
        error = refusal(path, verify=verify)
        assert str(error) == f"{path}: damaged (the content does not match its checksum); repair it"


def test_other_files_are_refused_with_the_reason(tmp_path: Path) -> None:
    assert str(refusal(tmp_path / "none.h5")).endswith("none.h5: no such test file; create it")
    assert "expected a file of format foal-test, got 'foal-other'" in str(
        refusal(write(tmp_path / "other.h5", format="foal-other"))
    )
    assert "the checksum line at the end is missing or invalid" in str(refusal(write(tmp_path / "bare.h5", seal=False)))
    (tmp_path / "text.h5").write_text("not HDF5")
    assert "truncated or not HDF5" in str(refusal(tmp_path / "text.h5"))
    write_seal(tmp_path / "text.h5")
    assert "got one that HDF5 cannot open" in str(refusal(tmp_path / "text.h5"))
    assert "expected a regular file" in str(refusal(tmp_path))
    assert "cannot be read" in str(refusal(tmp_path / "a\0b"))


@pytest.mark.parametrize("name", ["config_hash", "key"])
def test_files_of_older_versions_are_identified(tmp_path: Path, name: str) -> None:
    attributes: dict[str, Any] = {"modality": "audio", "config": "{}", name: "abc"}
    path = write(tmp_path / "a.h5", version=3, **attributes)
    assert sniff(path) == ("foal-test", 3, "audio", "abc", "{}", 3)
    with h5py.File(tmp_path / "other-program.h5", "w") as file:
        file.attrs["version"] = [1, 2]
    assert sniff(tmp_path / "other-program.h5") == (None, None, None, None, None, 0)
    (tmp_path / "text").write_text("text")
    assert sniff(tmp_path / "text") is None
