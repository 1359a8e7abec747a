"""Write audio tracks with clicks, and measure the times of the clicks after decoding."""

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
    """Raised cosines of 4 ms: within the band of 8 kHz audio, and codecs preserve the time of their peak."""
    time = np.arange(round(seconds * rate)) / rate
    wave = np.zeros_like(time)
    for click in CLICKS:
        near = np.abs(time - click) < WIDTH
        wave[near] = 0.8 * np.cos((time[near] - click) / WIDTH * np.pi / 2) ** 2
    return wave.astype(np.float32)


def click_offsets(wave: np.ndarray, expected: Sequence[float] | np.ndarray = CLICKS, margin: float = 0.2) -> np.ndarray:
    """The error of each click's time in samples at 16 kHz, from a parabola through the correlation peak."""
    click = np.cos(np.arange(-32, 33) / 16000 / WIDTH * np.pi / 2) ** 2
    offsets = []
    for time in expected:
        first = round((time - margin) * 16000)
        correlation = np.correlate(wave[first : round((time + margin) * 16000)], click, "same")
        peak = int(correlation[1:-1].argmax()) + 1
        left, middle, right = correlation[peak - 1 : peak + 2]
        offsets.append(first + peak + (left - right) / (left - 2 * middle + right) / 2 - time * 16000)
    return np.array(offsets)


def decoding_time(packet: Packet) -> Fraction:
    assert packet.dts is not None
    return packet.dts * packet.time_base


def write_track(
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
    """Write clicks and, unless `b_frames` is None, a video at 25 frames/s; `change` edits the audio packets."""
    with av.open(str(path), "w", options=options or {}) as container:
        packets: Packets = []
        if b_frames is not None:
            video = container.add_stream("libx264", rate=25)
            video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
            video.codec_context.max_b_frames = b_frames
        audio = container.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(audio, av.AudioStream)
        if b_frames is not None:
            for number in range(65):
                image = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number, np.uint8), format="rgb24")
                image.pts, image.time_base = number, Fraction(1, 25)
                packets += video.encode(image)
            packets += video.encode()
        samples = np.tile(wave(rate), (audio.layout.nb_channels, 1))
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(audio.format.name, layout, rate, frame_size=audio.frame_size or rate // 50)
        frames = [*resampler.resample(frame), *resampler.resample(None)]
        audio_packets = [packet for frame in [*frames, None] for packet in audio.encode(frame)]
        for packet in sorted(packets + change(audio_packets), key=decoding_time):
            container.mux(packet)
    return path


def video_shift(path: Path) -> float:
    """Seconds by which the video frames are presented later than encoded."""
    return float(open_video(path).shown_at[5]) - 5 / 25
