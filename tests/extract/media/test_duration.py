"""Declared and decoded durations: intact files are complete, truncated files report the missing share."""

import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from foal.extract.media.video import FULL, Segment, open_video
from foal.extract.media.video_reader import DecodeFallbackError
from foal.extract.media.waveform import Waveform
from foal.shared.errors import MediaError

MakeVideo = Callable[..., Path]

VIDEOS = [("v.mp4", "libx264"), ("v.mkv", "libx264"), ("v.avi", "mpeg4"), ("v.mov", "libx264")]


def decoded_share(path: Path, start: float | None = None, end: float | None = None) -> float | None:
    """The share of a segment's declared audio that can be decoded."""
    missing = Waveform(path).missing(start, end)
    return None if missing is None else 1 - missing[1] / missing[0]


def frame_counts(path: Path, **times: float | None) -> tuple[int, int | None]:
    """The numbers of decoded and declared frames of a segment at 10 Hz, with the first backend that can decode it."""
    for backend in ("auto", "pyav"):
        video = open_video(path, backend=backend)
        segment = Segment(start=times.get("start"), end=times.get("end"), fps=10)
        plan = video.plan(segment)
        try:
            return len(list(video.crops([plan], [FULL]))), video.expected_frames(segment, plan)
        except DecodeFallbackError:
            continue
    raise AssertionError


def truncate(path: Path, fraction: float) -> Path:
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * fraction)])
    return path


FAST_START = {"movflags": "faststart"}


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "au", "rf64"])
def test_a_truncated_audio_file_declares_its_full_duration(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"s.{suffix.replace('rf64', 'wav')}"
    noise = np.random.default_rng(1).normal(size=48000) / 9
    soundfile.write(path, noise, 16000, format=suffix.upper())
    assert decoded_share(path) == decoded_share(path, 1.0, 2.0) == 1.0
    truncate(path, 0.4)
    remaining = Waveform(path).seconds
    assert 0.9 < remaining < 1.25
    assert decoded_share(path) == pytest.approx(remaining / 3)
    assert decoded_share(path, 0.5, 2.0) == pytest.approx((remaining - 0.5) / 1.5)
    # A segment inside the remaining audio is complete, and audio beyond the declared end does not count as missing.
    assert decoded_share(path, 0.1, remaining) == 1.0
    assert decoded_share(path, 0.0, 99.0) == pytest.approx(remaining / 3)
    with pytest.raises(MediaError, match=r"got a file of .* s \(truncated: it declares 3.00 s\)"):
        Waveform(path).cut(2.0, 3.0)


@pytest.mark.parametrize(("field", "value"), [("data", 0xFFFFFFFF), ("data", 0x7FFFFFFF)])
def test_a_wav_from_a_pipe_declares_no_duration(tmp_path: Path, field: str, value: int) -> None:
    soundfile.write(tmp_path / "s.wav", np.zeros(16000), 16000)
    content = bytearray((tmp_path / "s.wav").read_bytes())
    struct.pack_into("<I", content, content.index(field.encode()) + 4, value)
    (tmp_path / "s.wav").write_bytes(content)
    assert decoded_share(tmp_path / "s.wav") is None
    assert Waveform(tmp_path / "s.wav").seconds == 1.0


@pytest.mark.parametrize(("name", "codec"), VIDEOS)
def test_a_truncated_video_declares_the_missing_frames(
    tmp_path: Path, make_video: MakeVideo, name: str, codec: str
) -> None:
    path = make_video(tmp_path / name, frames=75, codec=codec, audio_hz=44100)
    assert decoded_share(path) == 1.0
    assert frame_counts(path) == (30, 30)
    if codec == "libx264" and name != "v.mkv":
        with av.open(str(path)) as source, av.open(str(tmp_path / "f.mp4"), "w", options=FAST_START) as target:
            streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    target.mux(packet)
        path = tmp_path / "f.mp4"
    truncate(path, 0.6)
    decoded, declared = frame_counts(path)
    assert declared == 30
    assert 3 < decoded < 28
    assert frame_counts(path, start=0.0, end=0.2) == (2, 2)
    # The audio is written after the video and may be missing; then its declared duration is unknown.
    missing = Waveform(path).missing(None, None)
    assert missing is None or missing[1] > 0


def test_damaged_frames_in_the_middle_are_missing(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "v.mp4", frames=60, b_frames=2, damaged=slice(20, 24))
    decoded, declared = frame_counts(path)
    assert declared == 24
    assert 12 <= decoded < 24


def test_a_track_that_is_shorter_than_the_other_is_complete(tmp_path: Path, make_video: MakeVideo) -> None:
    for name in ("v.mkv", "v.mp4"):
        with av.open(str(tmp_path / name), "w") as container:
            video, audio = (
                container.add_stream("mpeg4", rate=25),
                container.add_stream("aac", rate=16000, layout="mono"),
            )
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            for _ in range(75):
                frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
                container.mux(video.encode(frame))
            container.mux(video.encode())
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
            tone.sample_rate, tone.pts = 16000, 0
            container.mux(audio.encode(tone))
            container.mux(audio.encode())
        assert decoded_share(tmp_path / name) == 1.0
        assert frame_counts(tmp_path / name) == (30, 30)


def test_mp3_declares_no_duration(tmp_path: Path) -> None:
    """FFmpeg reports the remaining duration of a truncated file."""
    soundfile.write(tmp_path / "s.mp3", np.zeros(16000), 16000)
    assert decoded_share(tmp_path / "s.mp3") is None
