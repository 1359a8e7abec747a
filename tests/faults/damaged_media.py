"""Writes media files, and damages them in every way that is tried."""

import os
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

SOUNDS = ("tone.wav", "tone.flac", "tone.mp3", "tone.ogg")
FILMS = {
    "film.mp4": ("libx264", "aac", 44100),
    "film.mkv": ("libx264", "aac", 44100),
    "film.avi": ("mpeg4", "mp3", 44100),
    "film.webm": ("libvpx", "libopus", 48000),
}
TALK = "talk.avi"

BITS, CUT, ZEROS, NAMES, HEADERS, NO_MEDIA, NO_FILE, GONE = (
    "1 to 200 bits turned in a media file",
    "a media file cut off",
    "a stretch of zeros in a media file",
    "a media file under another format's name",
    "wild numbers in a media file's header",
    "an empty file, text or noise as media",
    "a pipe, socket, folder or device as media",
    "a media file that is removed, emptied or cut during the run",
)
KINDS = (BITS, CUT, ZEROS, NAMES, HEADERS, NO_MEDIA, NO_FILE, GONE)


def film(path: Path, codec: str, sound: str, rate_hz: int) -> None:
    """Half a second of noise in both tracks."""
    chance = np.random.default_rng(len(path.name))
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=20)
        audio = container.add_stream(sound, rate=rate_hz, layout="mono")
        assert isinstance(video, av.VideoStream)
        assert isinstance(audio, av.AudioStream)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        video.codec_context.gop_size = 6
        for number in range(10):
            picture = chance.integers(0, 255, (64, 96, 3), np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            wave = av.AudioFrame.from_ndarray(
                chance.normal(size=(1, rate_hz // 20)).astype(np.float32) / 9, format="fltp", layout="mono"
            )
            wave.sample_rate, wave.pts = rate_hz, number * (rate_hz // 20)
            container.mux(audio.encode(wave))
        container.mux(video.encode())
        container.mux(audio.encode())


def with_bits_turned(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 2, 5, 20, 60, 200))):
        # Every second one near the beginning, where the headers are.
        place = chance.randrange(min(len(changed), chance.choice((600, len(changed)))))
        changed[place] ^= 1 << chance.randrange(8)
    return bytes(changed)


def with_zeros(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content))
    length = min(len(content) - place, chance.choice((16, 200, 3000)))
    return content[:place] + bytes(length) + content[place + length :]


BOXES = (
    b"mvhd",
    b"tkhd",
    b"mdhd",
    b"elst",
    b"stts",
    b"stsz",
    b"stsc",
    b"stco",
    b"ctts",
    b"stss",
    b"avc1",
    b"mp4a",
    b"hdlr",
    b"avih",
    b"strh",
    b"strf",
    b"fmt ",
    b"data",
    b"fLaC",
    b"OpusHead",
    b"vorbis",
    b"\x16T\xaek",
    b"\x15I\xa9f",
    b"Xing",
    b"Info",
    b"\xff\xfb",
    b"moov",
    b"mdat",
    b"RIFF",
    b"LIST",
    b"\x1f\x43\xb6\x75",
    b"idx1",
    b"movi",
    b"OggS",
)
WILD = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF0000, 1 << 20)


def with_wild_numbers(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    there = [box for box in BOXES if box in content]
    for _ in range(chance.choice((1, 1, 2, 4))):
        place = content.index(chance.choice(there)) + chance.choice((-4, *range(4, 44, 2)))
        number = struct.pack(chance.choice("<>") + "I", chance.choice(WILD))[: chance.choice((2, 4))]
        place = min(max(0, place), len(changed) - 4)
        changed[place : place + len(number)] = number
    return bytes(changed)


def damaged(sources: dict[str, bytes], folder: Path) -> Iterator[tuple[str, str]]:
    """Write all the damaged files; give the kind and name of each."""
    chance = random.Random(2024)
    names = [*SOUNDS, *FILMS]
    for kind, count, change in (
        (BITS, 96, with_bits_turned),
        (ZEROS, 32, with_zeros),
        (HEADERS, 88, with_wild_numbers),
        (CUT, 40, lambda content, chance: content[: chance.randrange(1, len(content))]),
    ):
        for number in range(count):
            source = TALK if number % 20 == 19 else names[number % len(names)]
            name = f"{KINDS.index(kind)}-{number}-{source}"
            (folder / name).write_bytes(change(sources[source], chance))
            yield kind, name
    for number in range(16):
        source, other = chance.sample(names, 2)
        name = f"n{number}-{source}{Path(other).suffix}"
        (folder / name).write_bytes(sources[source])
        yield NAMES, name
    for number, source in enumerate(("x.wav", "x.flac", "x.mp4", "x.mkv", "x.avi", "x.mp3", "x.webm", "x.ogg")):
        for content in (b"", b"only words\n" * 300, chance.randbytes(5000))[number % 3 :][:2]:
            name = f"o{number}{len(content)}-{source}"
            (folder / name).write_bytes(content)
            yield NO_MEDIA, name
    for suffix in ("wav", "mp4"):
        os.mkfifo(folder / f"pipe.{suffix}")
        (folder / f"folder.{suffix}").mkdir()
        (folder / f"zero.{suffix}").symlink_to("/dev/zero")
        with socket.socket(socket.AF_UNIX) as heard:
            heard.bind(os.path.relpath(folder / f"socket.{suffix}"))
        for name in ("pipe", "folder", "zero", "socket"):
            yield NO_FILE, f"{name}.{suffix}"
    for number, source in enumerate((*FILMS, *SOUNDS)):
        (folder / f"g{number}-{source}").write_bytes(sources[source])
        yield GONE, f"g{number}-{source}"
