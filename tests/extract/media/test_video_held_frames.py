"""A frame is shown until the next one, however long that takes: films of a variable rate, in four containers."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from foal.extract.media.video import FULL, Segment, open_video
from foal.tests.media_fixtures import frame_with_number

MakeVideo = Callable[..., Path]
ReadNumber = Callable[[np.ndarray], int]

HELD = [*range(0, 400, 40), *range(1400, 1800, 40)]
"""Frames every 40 ms, in milliseconds; the one of 360 ms is held until 1400 ms."""

FILMS = [
    ("v.mp4", "libx264", 0),
    ("v.mp4", "libx264", 2),
    ("v.mkv", "libx264", 2),
    ("v.webm", "libvpx-vp9", 0),
    ("v.avi", "mpeg4", 0),
]


def sampled(path: Path, segment: Segment, read_number: ReadNumber) -> list[int]:
    """The number in each sampled frame, -1 without one; equal for both readers, and nothing counts as missing."""
    both = []
    for backend in ("auto", "pyav"):
        video = open_video(path, backend=backend)
        plan = video.plan(segment)
        numbers = [-1] * len(plan)
        for _, position, image in video.crops([plan], [FULL]):
            numbers[position] = read_number(image)
        assert video.expected_frames(segment, plan) == np.count_nonzero(plan >= 0)
        both.append(numbers)
    assert both[0] == both[1]
    return both[0]


def write_film(path: Path, make_video: MakeVideo, codec: str, b_frames: int) -> Path:
    """A film with a held frame; AVI, which counts frames, gets an empty one for each that is left out."""
    if path.suffix != ".avi":
        return make_video(path, frames=len(HELD), times_ms=HELD, codec=codec, b_frames=b_frames)
    every = make_video(path.with_name("every.avi"), frames=len(HELD), codec=codec)
    with av.open(str(every)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(packet for packet in source.demux() if packet.size):
            packet.pts = packet.dts = HELD[number] // 40
            packet.time_base, packet.stream = Fraction(1, 25), stream
            target.mux(packet)
    return path


@pytest.mark.parametrize(("name", "codec", "b_frames"), FILMS)
def test_a_held_frame_is_shown_as_long_as_it_lasts(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber, name: str, codec: str, b_frames: int
) -> None:
    path = write_film(tmp_path / name, make_video, codec, b_frames)
    times = (np.arange(18) + 0.5) / 10
    expected = [int(np.flatnonzero(np.array(HELD) <= 1000 * time + 1)[-1]) for time in times]
    assert expected[4:14] == [9] * 10
    assert sampled(path, Segment(start=None, end=None, fps=10), read_number) == expected
    assert sampled(path, Segment(start=0.5, end=1.3, fps=10), read_number) == [9] * 8


@pytest.mark.parametrize(("name", "codec", "b_frames"), FILMS)
def test_nothing_is_shown_after_the_end(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber, name: str, codec: str, b_frames: int
) -> None:
    path = write_film(tmp_path / name, make_video, codec, b_frames)
    for backend in ("auto", "pyav"):
        assert open_video(path, backend=backend).seconds == pytest.approx(1.8, abs=0.002)
    numbers = sampled(path, Segment(start=1.5, end=2.5, fps=10), read_number)
    assert numbers == [13, 16, 18, *[-1] * 7]


@pytest.mark.parametrize("b_frames", [0, 2])
def test_the_last_frame_of_an_mp4_is_shown_for_its_own_duration(
    tmp_path: Path, read_number: ReadNumber, b_frames: int
) -> None:
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.max_b_frames = b_frames
        packets = []
        for number in range(6):
            frame = av.VideoFrame.from_ndarray(frame_with_number(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            packets += stream.encode(frame)
        packets += stream.encode()
        # MP4 stores the distances in decoding order; their sum is the length of the film.
        packets[-1].duration = round(20 / 25 / packets[-1].time_base)
        container.mux(packets)
    assert open_video(path).seconds == pytest.approx(1.0)
    assert sampled(path, Segment(start=None, end=None, fps=10), read_number) == [1, 3, *[5] * 8]


@pytest.mark.parametrize(("name", "codec"), [("v.mp4", "libx264"), ("v.mkv", "libx264"), ("v.avi", "mpeg4")])
def test_sampling_times_on_a_frames_time_take_that_frame(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber, name: str, codec: str
) -> None:
    """At 15 Hz every sampling time of a film of 30 Hz is the time of a frame; Matroska rounds it to milliseconds."""
    path = make_video(tmp_path / name, frames=45, fps=30, codec=codec)
    assert sampled(path, Segment(start=None, end=None, fps=15), read_number) == [*range(1, 45, 2), 44]
