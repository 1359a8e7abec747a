"""Small videos whose frames carry their number."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

# Frames carry their number as ten black or white bars, which survive any codec.
BITS = 10


def frame_with_number(number: int, *, width: int = 160, height: int = 96) -> np.ndarray:
    picture = np.full((height, width, 3), 128, np.uint8)
    for bit in range(BITS):
        picture[:, bit * width // BITS : (bit + 1) * width // BITS] = 255 if number >> bit & 1 else 0
    return picture


def number_in(picture: np.ndarray) -> int:
    width = picture.shape[1]
    centres = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    return sum(1 << bit for bit, x in enumerate(centres) if picture[:, x].mean() > 128)


@pytest.fixture
def read_number() -> Callable[[np.ndarray], int]:
    return number_in


@pytest.fixture
def make_video() -> Callable[..., Path]:
    """A video whose frames carry their number, optionally with B-frames, odd times, sound or damages."""

    def make(
        path: Path,
        *,
        frames: int = 40,
        fps: Fraction | int = 25,
        codec: str = "libx264",
        b_frames: int = 0,
        times_ms: Sequence[int] | None = None,
        sound_hz: int | None = None,
        damaged: slice | None = None,
    ) -> Path:
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=fps)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
            stream.codec_context.max_b_frames = b_frames
            stream.codec_context.gop_size = 12
            if times_ms is not None:
                stream.codec_context.time_base = Fraction(1, 1000)
            sound = container.add_stream("aac", rate=sound_hz, layout="mono") if sound_hz else None
            for number in range(frames):
                frame = av.VideoFrame.from_ndarray(frame_with_number(number), format="rgb24")
                frame.pts = number if times_ms is None else times_ms[number]
                frame.time_base = 1 / Fraction(fps) if times_ms is None else Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
            if sound is not None and sound_hz is not None:
                samples = np.sin(np.arange(frames * sound_hz // int(fps)) / sound_hz * 2 * np.pi * 440) / 2
                tone = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
                tone.sample_rate, tone.pts = sound_hz, 0
                container.mux(sound.encode(tone))
                container.mux(sound.encode())
        if damaged is not None:
            damage_packets(path, damaged)
        return path

    return make


def damage_packets(path: Path, which: slice) -> None:
    """Overwrite some of a video's frames with zeros; the container stays intact."""
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for position, size in packets[which]:
        assert position is not None
        # In AVI a chunk begins with a header of eight bytes.
        content[position + 8 : position + size] = bytes(size - 8)
    path.write_bytes(content)
