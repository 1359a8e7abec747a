"""Writes hostile files, each in a folder of its own beside what belongs to it, each with a seal that is right.

Run as a script, `hostile_files.py FOLDER`; test_hostile_store.py has them read.
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

# A script imports a neighbouring file by its bare name; mypy knows that file by its place in the package.
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
FUZZED = "bits flip anywhere, the seal made anew"
FLIPS = 100


def path_cases() -> Cases:
    def named(text: str | bytes, prepare: Callable[[Path], object] = lambda folder: None) -> Change:
        def change(path: Path) -> None:
            prepare(path.parent)
            with edited(path) as file:
                paths = file["shards/path"][()].tolist()
                del file["shards/path"]
                paths[0] = text.encode() if isinstance(text, str) else text
                file["shards/path"] = np.array(paths, h5py.string_dtype("utf-8", max(map(len, paths))))

        return change

    out = "/usr/lib/os-release"
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
    found: Cases = [("a shard's path leads out, or nowhere", "feats.h5", named(text)) for text in texts]
    made: dict[str, Callable[[Path], object]] = {
        "link": lambda folder: os.symlink(out, folder / "link"),
        "zero": lambda folder: os.symlink("/dev/zero", folder / "zero"),
        "up/x.h5": lambda folder: os.symlink("..", folder / "up"),
        "loop/x.h5": lambda folder: os.symlink("loop", folder / "loop"),
        "pipe": lambda folder: os.mkfifo(folder / "pipe"),
    }
    found += [("a shard's path leads out, or nowhere", "feats.h5", named(text, make)) for text, make in made.items()]
    for file in (SHARD, "feats.h5"):
        for what in ("pipe", "folder", "link to a device", "link to itself"):
            found.append(("a pipe, device, folder or link in a file's place", file, partial(in_place, what=what)))
    return found


def in_place(path: Path, what: str) -> None:
    path.unlink()
    match what:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to("/dev/zero" if "device" in what else path.name)


def group_cases() -> Cases:
    def link(name: str, to: str) -> Change:
        def change(path: Path) -> None:
            with edited(path) as file:
                if name in file:
                    del file[name]
                file[name] = file[to]

        return change

    def many(group: str, make: Callable[[h5py.Group, int], object]) -> Change:
        def change(path: Path) -> None:
            with edited(path) as file:
                inside = file.require_group(group)
                for number in range(3000):
                    make(inside, number)

        return change

    def copies(source: str) -> Callable[[h5py.Group, int], object]:
        return lambda inside, n: inside.__setitem__(f"q{n}", inside[source])

    circles = (
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
    found: Cases = [("hard links in a circle", file, link(name, to)) for file, name, to in circles]
    crowd = "thousands of members"
    for file, group, source in ((SHARD, "quality", "/origin"), ("feats.h5", "streams/face/quality", "/shards/size")):
        found += [
            (crowd, file, many(group, copies(source))),
            (crowd, file, many(group, lambda inside, n: inside.create_group(f"q{n}"))),
        ]
    found.append((crowd, "feats.h5", many("streams", lambda inside, n: inside.create_group(f"m{n}"))))
    for name in ("a b", "..", "x" * 300, "\N{SNOWMAN}"):
        found.append(("streams with strange names", "feats.h5", link(f"streams/face/{name}/", "streams/audio")))
    return found


def name_cases() -> Cases:
    """HDF5 follows the free blocks of the heap in which a group's names lie, from one to the next."""

    def led(to: Callable[[int, int], int]) -> Change:
        def change(path: Path) -> None:
            content, at = bytearray(path.read_bytes()), -1
            while (at := content.find(b"HEAP", at + 1)) >= 0:
                size, block, start = struct.unpack_from("<QQQ", content, at + 8)
                if block + 16 <= size and start + size <= len(content):
                    struct.pack_into("<Q", content, start + block, to(block, size))
            path.write_bytes(content)
            write_seal(path)

        return change

    def behind_a_user_block(path: Path) -> None:
        path.write_bytes(bytes(512) + path.read_bytes()[:-SEAL_SIZE])
        write_seal(path)

    def in_another_form(path: Path) -> None:
        with h5py.File(path) as old, h5py.File(path.with_suffix(".new"), "w", libver="latest") as new:
            for name in old:
                old.copy(name, new)
            new.attrs.update(old.attrs)
        path.with_suffix(".new").replace(path)
        write_seal(path)

    found: Cases = []
    for file in (SHARD, "feats.h5", "packed.h5"):
        circle = "names of members whose list is a circle, or leads out of the file"
        ways = [
            lambda block, size: block,
            lambda block, size: 0,
            lambda block, size: size - 8,
            lambda block, size: 1 << 40,
        ]
        found += [(circle, file, led(to)) for to in ways]
        found += [("HDF5 of another form", file, change) for change in (behind_a_user_block, in_another_form)]
    return found


def file_cases() -> Cases:
    chance = random.Random(3)

    def zipped(path: Path) -> None:
        path.unlink()
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x", b"x")

    def filled(content: bytes, seal: bool) -> Change:
        def change(path: Path) -> None:
            path.write_bytes(content)
            if seal:
                write_seal(path)

        return change

    start = b"\x89HDF\r\n\x1a\n"
    noise = chance.randbytes(5000)
    contents = (b"", b"id,label\n", noise, bytes(5000), start, start + noise)
    found: Cases = []
    for file in (SHARD, "feats.h5"):
        other = "files that are something else, or nothing"
        found.append((other, file, zipped))
        found += [(other, file, filled(content, seal)) for content in contents for seal in (True, False)]
    return found


def fuzz_cases() -> Cases:
    def flip(seed: int) -> Change:
        def change(path: Path) -> None:
            chance, content = random.Random(seed), bytearray(path.read_bytes())
            for _ in range(chance.choice((1, 1, 2, 8, 64))):
                bit = chance.randrange(8 * (len(content) - 64))
                content[bit // 8] ^= 1 << bit % 8
            path.write_bytes(content)
            write_seal(path)

        return change

    return [(FUZZED, file, flip(seed)) for seed in range(FLIPS) for file in (SHARD, "feats.h5", "packed.h5")]


def write_store(folder: Path) -> None:
    """Features of two modalities and splits, their feats.h5, and a packed one."""
    random_numbers = np.random.default_rng(5)
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
        for split in ("one", "two"):
            path = shard_folder(folder / "features", split, modality, key) / "0123456789abcdef.h5"
            with ShardWriter(path, header, dtype="float16") as writer:
                for utterance in (row for row in ROWS if row.session == split):
                    values = random_numbers.normal(size=(7, 5)).astype(np.float32)
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
    """Write them all below a folder, and print each one's number, fault and file."""
    write_store(folder / "whole")
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
        shutil.copytree(folder / "whole", folder / str(number))
        change(folder / str(number) / file)
        print(json.dumps([number, fault, file]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
