"""Groups whose name heap would cause an endless loop in libhdf5 are refused before they are read."""

import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from foal.shared.hdf5.group_check import check_object_header

HEAP = struct.Struct("<4s4xQQQ")


def check(path: Path, *, length: int | None = None) -> None:
    file = h5py.h5f.open(bytes(path), h5py.h5f.ACC_RDONLY)
    try:
        check_object_header(h5py.h5g.open(file, b"/"), path.stat().st_size if length is None else length)
    finally:
        file.close()


def write(path: Path, members: int, **options: str) -> Path:
    with h5py.File(path, "w", **options) as file:
        for number in range(members):
            file.create_group(f"member{number}")
            file.attrs[f"attribute{number % 20}"] = number
    return path


def make_free_list_circular(content: bytearray, heap: int, block: int) -> None:
    """Make a free block of the name heap point to itself."""
    _, _, _, names = HEAP.unpack_from(content, heap)
    struct.pack_into("<Q", content, names + block, block)


def move_free_list_outside(content: bytearray, heap: int, block: int) -> None:
    """Make the list of free blocks begin after the names."""
    name, size, _, names = HEAP.unpack_from(content, heap)
    HEAP.pack_into(content, heap, name, size, size, names)


def remove_signature(content: bytearray, heap: int, block: int) -> None:
    content[heap] ^= 1


@pytest.mark.parametrize("members", [0, 1, 200])
def test_intact_groups_of_any_size_pass(tmp_path: Path, members: int) -> None:
    check(write(tmp_path / "a.h5", members))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (make_free_list_circular, "damaged name heap"),
        (move_free_list_outside, "damaged name heap"),
        (remove_signature, "without a name heap"),
    ],
)
def test_damaged_name_heaps_are_refused(
    tmp_path: Path, damage: Callable[[bytearray, int, int], None], message: str
) -> None:
    path = write(tmp_path / "a.h5", 1)
    content = bytearray(path.read_bytes())
    heap = content.index(b"HEAP")
    _, _, block, _ = HEAP.unpack_from(content, heap)
    damage(content, heap, block)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        check(path)


def test_a_group_beyond_the_end_of_the_content_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="beyond the end of the file"):
        check(write(tmp_path / "a.h5", 1), length=100)


def test_other_versions_of_groups_and_files_with_a_user_block_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unsupported version of a group header"):
        check(write(tmp_path / "new.h5", 1, libver="latest"))
    path = tmp_path / "block.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["x"] = 1
    with pytest.raises(ValueError, match="begins with the HDF5 signature"):
        check(path)
