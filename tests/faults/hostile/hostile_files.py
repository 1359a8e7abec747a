"""Write hostile files, each in its own copy of a feature store; changed stores get a valid seal.

Run as a script, `hostile_files.py FOLDER`; test_hostile_store.py reads the files.
"""

import json
import os
import random
import shutil
import struct
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from foal.shared.hdf5.seal import SEAL_SIZE, write_seal
from foal.shared.store.catalog import shard_folder
from foal.shared.store.index_writer import write_index
from foal.shared.store.shard import Entry, ShardHeader, ShardWriter
from foal.shared.utterance import Utterance

# At run time, a script imports a module of its folder by its bare name; mypy needs the qualified name.
if TYPE_CHECKING:
    from foal.tests.faults.hostile.hostile_content import (
        SHARD,
        Cases,
        Change,
        attribute_cases,
        edited,
        number_cases,
        table_cases,
    )
else:
    from hostile_content import SHARD, Cases, Change, attribute_cases, edited, number_cases, table_cases

KEYS = {"audio": "a" * 64, "face": "f" * 64}
ROWS = [Utterance(id=f"u{i}", session=("one", "two")[i % 2], audio="a.wav", video="v.mp4", end=1.0) for i in range(6)]
FUZZED = "bit flips anywhere, with a recomputed seal"
BAD_PATH = "shard paths that lead outside the folder or to no file"
FLIPS = 100


def path_cases() -> Cases:
    def set_path(text: str | bytes, prepare: Callable[[Path], object] = lambda folder: None) -> Change:
        def change(path: Path) -> None:
            prepare(path.parent)
            with edited(path) as file:
                paths = file["shards/path"][()].tolist()
                del file["shards/path"]
                paths[0] = text.encode() if isinstance(text, str) else text
                file["shards/path"] = np.array(paths, h5py.string_dtype("utf-8", max(map(len, paths))))

        return change

    outside = "/usr/lib/os-release"
    texts = (
        "",
        ".",
        "..",
        "/etc/passwd",
        "/dev/zero",
        "../x.h5",
        "features/../../x.h5",
        "./" + SHARD,
        "features//x.h5",
        "a\0b",
        "x" * 5000,
        "features",
        "\n",
        SHARD + "/",
        "nowhere.h5",
    )
    cases: Cases = [(BAD_PATH, "feats.h5", set_path(text)) for text in texts]
    prepared: dict[str, Callable[[Path], object]] = {
        "link": lambda folder: os.symlink(outside, folder / "link"),
        "zero": lambda folder: os.symlink("/dev/zero", folder / "zero"),
        "up/x.h5": lambda folder: os.symlink("..", folder / "up"),
        "loop/x.h5": lambda folder: os.symlink("loop", folder / "loop"),
        "pipe": lambda folder: os.mkfifo(folder / "pipe"),
    }
    cases += [(BAD_PATH, "feats.h5", set_path(text, make)) for text, make in prepared.items()]
    for file in (SHARD, "feats.h5"):
        for kind in ("pipe", "folder", "link to a device", "link to itself"):
            cases.append(("a pipe, device, folder or link instead of a file", file, partial(replace_file, kind=kind)))
    return cases


def replace_file(path: Path, kind: str) -> None:
    path.unlink()
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to("/dev/zero" if "device" in kind else path.name)


def group_cases() -> Cases:
    def hard_link(name: str, target: str) -> Change:
        def change(path: Path) -> None:
            with edited(path) as file:
                if name in file:
                    del file[name]
                file[name] = file[target]

        return change

    def many(group: str, make: Callable[[h5py.Group, int], object]) -> Change:
        def change(path: Path) -> None:
            with edited(path) as file:
                parent = file.require_group(group)
                for number in range(3000):
                    make(parent, number)

        return change

    def copies(source: str) -> Callable[[h5py.Group, int], object]:
        return lambda parent, n: parent.__setitem__(f"q{n}", parent[source])

    cycles = (
        (SHARD, "quality", "/"),
        (SHARD, "quality/quality", "quality"),
        ("feats.h5", "streams/face/clip", "/"),
        ("feats.h5", "streams/face/face", "streams"),
        ("feats.h5", "streams/loop", "streams"),
        ("feats.h5", "streams/face/quality", "streams"),
        ("feats.h5", "shards", "/"),
        ("feats.h5", "streams", "/"),
        ("packed.h5", "streams/audio/again", "streams/audio"),
        ("packed.h5", "utterances", "streams"),
        ("packed.h5", "streams/audio/values", "streams/face/values"),
    )
    cases: Cases = [("circular hard links", file, hard_link(name, target)) for file, name, target in cycles]
    many_members = "groups with thousands of members"
    for file, group, source in ((SHARD, "quality", "/origin"), ("feats.h5", "streams/face/quality", "/shards/size")):
        cases += [
            (many_members, file, many(group, copies(source))),
            (many_members, file, many(group, lambda parent, n: parent.create_group(f"q{n}"))),
        ]
    cases.append((many_members, "feats.h5", many("streams", lambda parent, n: parent.create_group(f"m{n}"))))
    for name in ("a b", "..", "x" * 300, "\N{SNOWMAN}"):
        cases.append(("streams with unusual names", "feats.h5", hard_link(f"streams/face/{name}/", "streams/audio")))
    return cases


def name_cases() -> Cases:
    """Damage the list of free blocks in the heap of link names, which HDF5 follows from block to block."""

    def redirect(next_block: Callable[[int, int], int]) -> Change:
        def change(path: Path) -> None:
            content, at = bytearray(path.read_bytes()), -1
            while (at := content.find(b"HEAP", at + 1)) >= 0:
                size, block, start = struct.unpack_from("<QQQ", content, at + 8)
                if block + 16 <= size and start + size <= len(content):
                    struct.pack_into("<Q", content, start + block, next_block(block, size))
            path.write_bytes(content)
            write_seal(path)

        return change

    def add_user_block(path: Path) -> None:
        path.write_bytes(bytes(512) + path.read_bytes()[:-SEAL_SIZE])
        write_seal(path)

    def rewrite_in_latest_format(path: Path) -> None:
        with h5py.File(path) as old, h5py.File(path.with_suffix(".new"), "w", libver="latest") as new:
            for name in old:
                old.copy(name, new)
            new.attrs.update(old.attrs)
        path.with_suffix(".new").replace(path)
        write_seal(path)

    cases: Cases = []
    for file in (SHARD, "feats.h5", "packed.h5"):
        free_list = "free lists of link names that are circular or lead outside the file"
        next_blocks = [
            lambda block, size: block,
            lambda block, size: 0,
            lambda block, size: size - 8,
            lambda block, size: 1 << 40,
        ]
        cases += [(free_list, file, redirect(next_block)) for next_block in next_blocks]
        cases += [
            ("HDF5 with a user block or in the latest format", file, change)
            for change in (add_user_block, rewrite_in_latest_format)
        ]
    return cases


def file_cases() -> Cases:
    rng = random.Random(3)

    def write_zip(path: Path) -> None:
        path.unlink()
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x", b"x")

    def write_content(content: bytes, seal: bool) -> Change:
        def change(path: Path) -> None:
            path.write_bytes(content)
            if seal:
                write_seal(path)

        return change

    start = b"\x89HDF\r\n\x1a\n"
    noise = rng.randbytes(5000)
    contents = (b"", b"id,label\n", noise, bytes(5000), start, start + noise)
    cases: Cases = []
    for file in (SHARD, "feats.h5"):
        not_a_store = "empty files and files of other formats"
        cases.append((not_a_store, file, write_zip))
        cases += [(not_a_store, file, write_content(content, seal)) for content in contents for seal in (True, False)]
    return cases


def fuzz_cases() -> Cases:
    def flip(seed: int) -> Change:
        def change(path: Path) -> None:
            rng, content = random.Random(seed), bytearray(path.read_bytes())
            for _ in range(rng.choice((1, 1, 2, 8, 64))):
                bit = rng.randrange(8 * (len(content) - 64))
                content[bit // 8] ^= 1 << bit % 8
            path.write_bytes(content)
            write_seal(path)

        return change

    return [(FUZZED, file, flip(seed)) for seed in range(FLIPS) for file in (SHARD, "feats.h5", "packed.h5")]


def write_store(folder: Path) -> None:
    """Write features of two modalities and sessions, their feats.h5, and a packed index."""
    rng = np.random.default_rng(5)
    for modality, key in KEYS.items():
        header = ShardHeader(
            modality=modality,
            config_hash=key,
            rate_hz=50.0,
            encoder="e",
            revision="r",
            weights="w",
            random_weights=True,
            config={"layers": "last"},
        )
        for session in ("one", "two"):
            path = shard_folder(folder / "features", session, modality, key) / "0123456789abcdef.h5"
            with ShardWriter(path, header, dtype="float16") as writer:
                for utterance in (row for row in ROWS if row.session == session):
                    values = rng.normal(size=(7, 5)).astype(np.float32)
                    writer.add(
                        Entry(
                            id=utterance.id,
                            values=values,
                            valid=np.ones(7, bool),
                            origin=0.0,
                            media="1:1",
                            source=utterance.source(modality),
                            boxes=values[:, :4],
                            quality={"sound": 1.0},
                        )
                    )
    for name in ("feats.h5", "packed.h5"):
        write_index(folder / name, ROWS, folder / "features", KEYS, pack=name == "packed.h5")


def main(folder: Path) -> None:
    """Write all cases below a folder, and print the number, fault and file of each."""
    write_store(folder / "intact")
    cases = [
        *attribute_cases(),
        *table_cases(),
        *number_cases(),
        *path_cases(),
        *group_cases(),
        *name_cases(),
        *file_cases(),
        *fuzz_cases(),
    ]
    for number, (fault, file, change) in enumerate(cases):
        shutil.copytree(folder / "intact", folder / str(number))
        change(folder / str(number) / file)
        print(json.dumps([number, fault, file]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
