"""Small videos whose frames encode their frame number."""

import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

# The frame number is encoded as ten black or white bars, which survive lossy compression.
BITS = 10


def frame_with_number(number: int, *, width: int = 160, height: int = 96) -> np.ndarray:
    image = np.full((height, width, 3), 128, np.uint8)
    for bit in range(BITS):
        image[:, bit * width // BITS : (bit + 1) * width // BITS] = 255 if number >> bit & 1 else 0
    return image


def decode_frame_number(image: np.ndarray) -> int:
    width = image.shape[1]
    centres = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    return sum(1 << bit for bit, x in enumerate(centres) if image[:, x].mean() > 128)


@pytest.fixture
def read_number() -> Callable[[np.ndarray], int]:
    return decode_frame_number


@pytest.fixture
def make_video() -> Callable[..., Path]:
    """Write a video of numbered frames, optionally with B-frames, irregular times, audio or damaged packets."""

    def make(
        path: Path,
        *,
        frames: int = 40,
        fps: Fraction | int = 25,
        codec: str = "libx264",
        b_frames: int = 0,
        times_ms: Sequence[int] | None = None,
        audio_hz: int | None = None,
        damaged: slice | None = None,
    ) -> Path:
        scheduling = os.sched_getscheduler(0), os.sched_getparam(0)
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=fps)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
            stream.codec_context.max_b_frames = b_frames
            stream.codec_context.gop_size = 12
            if times_ms is not None:
                stream.codec_context.time_base = Fraction(1, 1000)
            audio = container.add_stream("aac", rate=audio_hz, layout="mono") if audio_hz else None
            for number in range(frames):
                frame = av.VideoFrame.from_ndarray(frame_with_number(number), format="rgb24")
                frame.pts = number if times_ms is None else times_ms[number]
                frame.time_base = 1 / Fraction(fps) if times_ms is None else Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
            if audio is not None and audio_hz is not None:
                samples = np.sin(np.arange(frames * audio_hz // int(fps)) / audio_hz * 2 * np.pi * 440) / 2
                tone = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
                tone.sample_rate, tone.pts = audio_hz, 0
                container.mux(audio.encode(tone))
                container.mux(audio.encode())
        # For root, SVT-AV1 gives the calling thread a real-time priority. Child processes would inherit it.
        os.sched_setscheduler(0, *scheduling)
        if damaged is not None:
            damage_packets(path, damaged)
        return path

    return make


def damage_packets(path: Path, packet_range: slice) -> None:
    """Overwrite a range of video packets with zeros; the container stays intact."""
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for position, size in packets[packet_range]:
        assert position is not None
        # AVI chunks begin with a header of eight bytes.
        content[position + 8 : position + size] = bytes(size - 8)
    path.write_bytes(content)
