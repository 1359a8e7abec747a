"""Writes sound tracks with clicks, and measures where the clicks are after decoding."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.packet import Packet

from foal.extract.media.video import open_video

CLICKS = (0.5, 1.25, 2.0)
WIDTH = 0.002
Packets = list[Packet]


def clicks(rate: int, seconds: float = 2.5) -> np.ndarray:
    """Raised cosines of 4 ms: in band at 8 kHz, and codecs leave their middle where it is."""
    time = np.arange(round(seconds * rate)) / rate
    wave = np.zeros_like(time)
    for click in CLICKS:
        near = np.abs(time - click) < WIDTH
        wave[near] = 0.8 * np.cos((time[near] - click) / WIDTH * np.pi / 2) ** 2
    return wave.astype(np.float32)


def landings(wave: np.ndarray, expected: Sequence[float] | np.ndarray = CLICKS, reach: float = 0.2) -> np.ndarray:
    """By how many samples of 16 kHz each click misses its time, found by correlation and a parabola."""
    click = np.cos(np.arange(-32, 33) / 16000 / WIDTH * np.pi / 2) ** 2
    missed = []
    for time in expected:
        first = round((time - reach) * 16000)
        match = np.correlate(wave[first : round((time + reach) * 16000)], click, "same")
        at = int(match[1:-1].argmax()) + 1
        left, middle, right = match[at - 1 : at + 2]
        missed.append(first + at + (left - right) / (left - 2 * middle + right) / 2 - time * 16000)
    return np.array(missed)


def decoding_time(packet: Packet) -> Fraction:
    assert packet.dts is not None
    return packet.dts * packet.time_base


def write(
    path: Path,
    codec: str,
    rate: int,
    layout: str = "mono",
    *,
    b_frames: int | None = None,
    wave: Callable[[int], np.ndarray] = clicks,
    change: Callable[[Packets], Packets] = list,
    options: dict[str, str] | None = None,
) -> Path:
    """A click track, beside a video at 25 pictures a second unless `b_frames` is None; `change` is for its packets."""
    with av.open(str(path), "w", options=options or {}) as container:
        packets: Packets = []
        if b_frames is not None:
            video = container.add_stream("libx264", rate=25)
            video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
            video.codec_context.max_b_frames = b_frames
        sound = container.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(sound, av.AudioStream)
        if b_frames is not None:
            for number in range(65):
                picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number, np.uint8), format="rgb24")
                picture.pts, picture.time_base = number, Fraction(1, 25)
                packets += video.encode(picture)
            packets += video.encode()
        samples = np.tile(wave(rate), (sound.layout.nb_channels, 1))
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        to_codec = av.AudioResampler(sound.format.name, layout, rate, frame_size=sound.frame_size or rate // 50)
        pieces = [*to_codec.resample(frame), *to_codec.resample(None)]
        heard = [packet for piece in [*pieces, None] for packet in sound.encode(piece)]
        for packet in sorted(packets + change(heard), key=decoding_time):
            container.mux(packet)
    return path


def picture_shift(path: Path) -> float:
    """Seconds by which the file's pictures are shown later than they were drawn."""
    return float(open_video(path).shown_at[5]) - 5 / 25
