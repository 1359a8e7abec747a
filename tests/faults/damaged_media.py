"""Write media files and damaged copies of them."""

import os
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

AUDIO_FILES = ("tone.wav", "tone.flac", "tone.mp3", "tone.ogg")
VIDEO_FILES = {
    "film.mp4": ("libx264", "aac", 44100),
    "film.mkv": ("libx264", "aac", 44100),
    "film.avi": ("mpeg4", "mp3", 44100),
    "film.webm": ("libvpx", "libopus", 48000),
}
DIALOG_FILE = "talk.avi"

BIT_FLIPS, TRUNCATION, ZEROS, WRONG_EXTENSION, HEADERS, NOT_MEDIA, NOT_REGULAR, CHANGED_DURING_RUN = (
    "1 to 200 flipped bits in a media file",
    "a truncated media file",
    "a block of zeros in a media file",
    "a media file with the extension of another format",
    "extreme numbers in the header of a media file",
    "an empty file, text or random bytes as a media file",
    "a pipe, socket, folder or device as a media file",
    "a media file that is removed, emptied or truncated during the run",
)
KINDS = (BIT_FLIPS, TRUNCATION, ZEROS, WRONG_EXTENSION, HEADERS, NOT_MEDIA, NOT_REGULAR, CHANGED_DURING_RUN)


def write_video(path: Path, video_codec: str, audio_codec: str, rate_hz: int) -> None:
    """Write a video file with half a second of noise in its video and audio tracks."""
    rng = np.random.default_rng(len(path.name))
    with av.open(str(path), "w") as container:
        video = container.add_stream(video_codec, rate=20)
        audio = container.add_stream(audio_codec, rate=rate_hz, layout="mono")
        assert isinstance(video, av.VideoStream)
        assert isinstance(audio, av.AudioStream)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        video.codec_context.gop_size = 6
        for number in range(10):
            image = rng.integers(0, 255, (64, 96, 3), np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            audio_frame = av.AudioFrame.from_ndarray(
                rng.normal(size=(1, rate_hz // 20)).astype(np.float32) / 9, format="fltp", layout="mono"
            )
            audio_frame.sample_rate, audio_frame.pts = rate_hz, number * (rate_hz // 20)
            container.mux(audio.encode(audio_frame))
        container.mux(video.encode())
        container.mux(audio.encode())


def flip_bits(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 2, 5, 20, 60, 200))):
        # About half of the positions are near the beginning, where the headers are.
        position = rng.randrange(min(len(changed), rng.choice((600, len(changed)))))
        changed[position] ^= 1 << rng.randrange(8)
    return bytes(changed)


def overwrite_with_zeros(content: bytes, rng: random.Random) -> bytes:
    position = rng.randrange(len(content))
    length = min(len(content) - position, rng.choice((16, 200, 3000)))
    return content[:position] + bytes(length) + content[position + length :]


HEADER_MARKERS = (
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
EXTREME_NUMBERS = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF0000, 1 << 20)


def overwrite_header_numbers(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    present = [marker for marker in HEADER_MARKERS if marker in content]
    for _ in range(rng.choice((1, 1, 2, 4))):
        position = content.index(rng.choice(present)) + rng.choice((-4, *range(4, 44, 2)))
        number = struct.pack(rng.choice("<>") + "I", rng.choice(EXTREME_NUMBERS))[: rng.choice((2, 4))]
        position = min(max(0, position), len(changed) - 4)
        changed[position : position + len(number)] = number
    return bytes(changed)


def write_damaged_files(sources: dict[str, bytes], folder: Path) -> Iterator[tuple[str, str]]:
    """Write all damaged files; yield the kind of damage and the name of each."""
    rng = random.Random(2024)
    names = [*AUDIO_FILES, *VIDEO_FILES]
    for kind, count, change in (
        (BIT_FLIPS, 96, flip_bits),
        (ZEROS, 32, overwrite_with_zeros),
        (HEADERS, 88, overwrite_header_numbers),
        (TRUNCATION, 40, lambda content, rng: content[: rng.randrange(1, len(content))]),
    ):
        for number in range(count):
            source = DIALOG_FILE if number % 20 == 19 else names[number % len(names)]
            name = f"{KINDS.index(kind)}-{number}-{source}"
            (folder / name).write_bytes(change(sources[source], rng))
            yield kind, name
    for number in range(16):
        source, other = rng.sample(names, 2)
        name = f"n{number}-{source}{Path(other).suffix}"
        (folder / name).write_bytes(sources[source])
        yield WRONG_EXTENSION, name
    for number, source in enumerate(("x.wav", "x.flac", "x.mp4", "x.mkv", "x.avi", "x.mp3", "x.webm", "x.ogg")):
        for content in (b"", b"only words\n" * 300, rng.randbytes(5000))[number % 3 :][:2]:
            name = f"o{number}{len(content)}-{source}"
            (folder / name).write_bytes(content)
            yield NOT_MEDIA, name
    for suffix in ("wav", "mp4"):
        os.mkfifo(folder / f"pipe.{suffix}")
        (folder / f"folder.{suffix}").mkdir()
        (folder / f"zero.{suffix}").symlink_to("/dev/zero")
        with socket.socket(socket.AF_UNIX) as unix_socket:
            unix_socket.bind(os.path.relpath(folder / f"socket.{suffix}"))
        for name in ("pipe", "folder", "zero", "socket"):
            yield NOT_REGULAR, f"{name}.{suffix}"
    for number, source in enumerate((*VIDEO_FILES, *AUDIO_FILES)):
        (folder / f"g{number}-{source}").write_bytes(sources[source])
        yield CHANGED_DURING_RUN, f"g{number}-{source}"
