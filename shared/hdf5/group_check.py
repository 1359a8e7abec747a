"""Checks the header of an HDF5 group before libhdf5 reads it, against a loop that would exhaust the memory.

The names of a group's members are in a local heap, whose free blocks form a linked list. libhdf5 (2.0) reads the list
block by block, each into new memory; a list with a cycle takes all memory, and signals do not interrupt it. One flipped
bit in about 6,000 causes that. The layout is described in the HDF5 file format specification, sections III.D (local
heaps) and IV.A (object headers of version 1):
https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

import os
import struct
from collections.abc import Iterator
from typing import Any

import h5py

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
CONTINUATION = 0x10
SYMBOL_TABLE = 0x11
NO_MORE_BLOCKS = 1
MAX_BYTES = 1 << 20
"""Maximum size of a block of an object header or of a name heap; foal writes a few kilobytes."""
MAX_HEADER_BLOCKS = 64


def check_object_header(group: Any, length: int) -> None:
    """Raise ValueError unless the members of a group can be read safely.

    Args:
        group: an open low-level group (h5py.h5g.GroupID).
        length: bytes of HDF5 content of its file.
    """
    handle = h5py.h5i.get_file_id(group).get_vfd_handle()
    # With a user block, all addresses would be relative to its end.
    if os.pread(handle, len(HDF5_SIGNATURE), 0) != HDF5_SIGNATURE:
        raise ValueError("expected a file that begins with the HDF5 signature")
    low, high = h5py.h5g.get_objinfo(group, b".").objno
    for kind, content in _messages(handle, low + (high << 64), length):
        if kind == SYMBOL_TABLE:
            _, heap = struct.unpack_from("<QQ", content)
            _check_heap(handle, heap, length)


def _messages(handle: int, address: int, length: int) -> Iterator[tuple[int, bytes]]:
    """Kind and content of the messages in an object header."""
    version, _, _, _, size = struct.unpack("<BBHII", _read(handle, address, 12, length))
    if version != 1:
        raise ValueError("unsupported version of a group header")
    blocks = [(address + 16, size)]
    for start, count in blocks:
        block, at = _read(handle, start, count, length), 0
        while at + 8 <= len(block):
            kind, long = struct.unpack_from("<HH", block, at)
            content = block[at + 8 : at + 8 + long]
            if len(content) != long or (kind in (CONTINUATION, SYMBOL_TABLE) and long < 16):
                raise ValueError("damaged group header")
            if kind == CONTINUATION:
                blocks.append(struct.unpack_from("<QQ", content))
                if len(blocks) > MAX_HEADER_BLOCKS:
                    raise ValueError("group header with too many blocks")
            yield kind, content
            at += 8 + long


def _check_heap(handle: int, address: int, length: int) -> None:
    name, size, block, start = struct.unpack("<4s4xQQQ", _read(handle, address, 32, length))
    if name != b"HEAP":
        raise ValueError("group without a name heap")
    names, seen = _read(handle, start, size, length), set[int]()
    while block != NO_MORE_BLOCKS:
        if block in seen or block + 16 > len(names):
            raise ValueError("damaged name heap of a group")
        seen.add(block)
        (block,) = struct.unpack_from("<Q", names, block)


def _read(handle: int, start: int, count: int, length: int) -> bytes:
    if count > MAX_BYTES or start + count > length:
        raise ValueError("group that is too large or extends beyond the end of the file")
    content = os.pread(handle, count, start)
    if len(content) != count:
        raise ValueError("group that extends beyond the end of the file")
    return content
