"""Sampled frames, identified by their number, are those that the video shows then, with both readers."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from foal.extract.media.decord_video import DecordVideo
from foal.extract.media.pyav_video import PyavVideo
from foal.extract.media.video import NoVideoTrackError, Segment, open_video
from foal.shared.errors import MediaError
from foal.shared.timing import STAMP_TOLERANCE, face_times

MakeVideo = Callable[..., Path]
ReadNumber = Callable[[np.ndarray], int]
FULL_FRAME = (0.0, 0.0, 1.0, 1.0)


def numbers(path: Path, segments: list[Segment], read_number: ReadNumber) -> list[list[int]]:
    """The number encoded in each sampled frame, or -1 without a frame; equal with decord and PyAV."""
    both = []
    for backend in ("auto", "pyav"):
        video = open_video(path, backend=backend)
        plans = [video.plan(segment) for segment in segments]
        sampled = [[-1] * len(plan) for plan in plans]
        for segment, position, image in video.crops(plans, [FULL_FRAME] * len(plans)):
            sampled[segment][position] = read_number(image)
        both.append(sampled)
    assert both[0] == both[1]
    return both[0]


def shown(times: np.ndarray, shown_at: np.ndarray) -> list[int]:
    """The last frame that has begun at each time."""
    return [int(np.flatnonzero(shown_at <= time + STAMP_TOLERANCE)[-1]) for time in times]


@pytest.mark.parametrize(
    ("name", "codec", "b_frames"),
    [("h264.mp4", "libx264", 3), ("mpeg4.avi", "mpeg4", 2), ("mpeg4.avi", "mpeg4", 0), ("h264.mkv", "libx264", 2)],
)
def test_frames_of_a_constant_rate_are_those_shown(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber, name: str, codec: str, b_frames: int
) -> None:
    path = make_video(tmp_path / name, frames=60, codec=codec, b_frames=b_frames)
    segments = [
        Segment(start=None, end=None, fps=10),
        Segment(start=0.8, end=1.93, fps=7),
        Segment(start=0.9, end=1.0, fps=30),
    ]
    shown_at = np.arange(60) / 25
    expected = [
        shown(face_times(0, 2.4, 10), shown_at),
        shown(face_times(0.8, 1.13, 7), shown_at),
        shown(face_times(0.9, 0.1, 30), shown_at),
    ]
    assert numbers(path, segments, read_number) == expected


def test_frames_of_a_varying_rate_are_those_shown(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber
) -> None:
    times_ms = np.cumsum([0, *np.tile([20, 70, 33, 110], 10)]).tolist()
    path = make_video(tmp_path / "vfr.mkv", frames=len(times_ms), times_ms=times_ms, b_frames=2)
    (actual,) = numbers(path, [Segment(start=0.1, end=2.0, fps=13)], read_number)
    assert actual == shown(face_times(0.1, 1.9, 13), np.array(times_ms) / 1000)


QUARTER_TURN = b"".join(
    number.to_bytes(4, "big", signed=True) for number in (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
)
MATRIX_IN_TKHD = 44


def test_a_rotated_video_is_upright(tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber) -> None:
    """As recorded by phones: rotated frames and a display matrix."""
    path = make_video(tmp_path / "v.mp4", frames=40, b_frames=2)
    content = bytearray(path.read_bytes())
    offset = content.index(b"tkhd") + MATRIX_IN_TKHD
    content[offset : offset + len(QUARTER_TURN)] = QUARTER_TURN
    path.write_bytes(content)

    def read_rotated(image: np.ndarray) -> int:
        assert image.shape == (160, 96, 3)
        return read_number(np.rot90(image))

    (actual,) = numbers(path, [Segment(start=0.2, end=1.4, fps=10)], read_rotated)
    assert actual == shown(face_times(0.2, 1.2, 10), np.arange(40) / 25)


def test_a_video_too_large_for_decord_is_read_with_pyav(
    tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "v.mp4", frames=60, b_frames=2)
    monkeypatch.setattr("foal.extract.media.video.MAX_DECORD_BYTES", 60 * 160 * 96 * 3 - 1)
    assert isinstance(open_video(path).reader, PyavVideo)
    monkeypatch.setattr("foal.extract.media.video.MAX_DECORD_BYTES", 60 * 160 * 96 * 3)
    assert isinstance(open_video(path).reader, DecordVideo)
    assert isinstance(open_video(path, backend="pyav").reader, PyavVideo)


def test_a_video_that_begins_late_keeps_the_times_of_the_file(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber
) -> None:
    times_ms = [500 + 40 * number for number in range(25)]
    path = make_video(tmp_path / "late.mkv", frames=25, times_ms=times_ms, audio_hz=44100)
    (actual,) = numbers(path, [Segment(start=0.0, end=1.0, fps=10)], read_number)
    assert actual[:4] == [-1] * 4
    assert actual[5:] == shown(face_times(0.5, 0.5, 10), np.array(times_ms) / 1000)


def test_times_after_the_end_have_no_frames(tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber) -> None:
    path = make_video(tmp_path / "v.mp4", frames=25)
    (actual,) = numbers(path, [Segment(start=0.8, end=1.6, fps=10)], read_number)
    assert actual == [21, 23, *[-1] * 6]


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_a_film_shorter_than_half_an_interval_gives_its_picture(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber, name: str
) -> None:
    path = make_video(tmp_path / name, frames=1)
    assert numbers(
        path, [Segment(start=None, end=None, fps=10), Segment(start=0.0, end=0.02, fps=10)], read_number
    ) == [
        [0],
        [0],
    ]


def test_frames_are_cropped(tmp_path: Path, make_video: MakeVideo) -> None:
    video = open_video(make_video(tmp_path / "v.mp4", frames=3))
    plans = [np.array([1]), np.array([1])]
    actual = {n: image.shape for n, _, image in video.crops(plans, [(0.5, 0, 1, 1), (0.25, 0.25, 0.5, 0.75)])}
    assert actual == {0: (96, 80, 3), 1: (48, 40, 3)}


def test_a_video_cut_without_reencoding_starts_at_the_cut(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber
) -> None:
    """The first three frames in the file are only references for prediction and are not presented."""
    complete = make_video(tmp_path / "complete.mp4", frames=60, b_frames=2)
    cut = tmp_path / "cut.mp4"
    with av.open(str(complete)) as source, av.open(str(cut), "w", options={"avoid_negative_ts": "disabled"}) as target:
        original = source.streams.video[0]
        assert original.time_base is not None
        stream = target.add_stream_from_template(original)
        shift = round(15 / 25 / original.time_base)
        started = False
        for packet in source.demux(video=0):
            if packet.pts is None:
                continue
            started = started or (packet.is_keyframe and packet.pts * packet.time_base >= 12 / 25)
            if started:
                assert packet.dts is not None
                packet.pts -= shift
                packet.dts -= shift
                packet.stream = stream
                target.mux(packet)
    (actual,) = numbers(cut, [Segment(start=0.0, end=1.0, fps=25)], read_number)
    assert actual == list(range(15, 40))


@pytest.mark.parametrize(
    ("name", "codec", "b_frames"),
    [("v.mp4", "libx264", 3), ("v.avi", "mpeg4", 2), ("v.avi", "mpeg4", 0), ("v.mkv", "libx264", 0)],
)
def test_both_readers_return_the_same_frames(
    tmp_path: Path, make_video: MakeVideo, name: str, codec: str, b_frames: int
) -> None:
    path = make_video(tmp_path / name, frames=40, codec=codec, b_frames=b_frames)
    frames = []
    for backend in ("auto", "pyav"):
        video = open_video(path, backend=backend)
        plan = video.plan(Segment(start=None, end=None, fps=8))
        frames.append([(position, image) for _, position, image in video.crops([plan], [FULL_FRAME])])
    assert [position for position, _ in frames[0]] == [position for position, _ in frames[1]] == list(range(13))
    for (_, first), (_, second) in zip(*frames, strict=True):
        np.testing.assert_allclose(first.astype(int), second.astype(int), atol=2)


def test_a_codec_that_decord_does_not_support_is_read_with_pyav(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber
) -> None:
    path = make_video(tmp_path / "v.mkv", frames=25, codec="libsvtav1")
    assert numbers(path, [Segment(start=0.0, end=1.0, fps=5)], read_number) == [[2, 7, 12, 17, 22]]


def test_a_truncated_video_gives_its_remaining_frames(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber
) -> None:
    path = make_video(tmp_path / "v.avi", frames=500, codec="mpeg4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (actual,) = numbers(path, [Segment(start=0.0, end=20.0, fps=25)], read_number)
    decoded = [number for number in actual if number >= 0]
    # No repeated or wrong frame, and no frame after the truncation.
    assert decoded == list(range(len(decoded)))
    assert set(actual[len(decoded) :]) == {-1}
    assert 100 < len(decoded) < 400


@pytest.mark.parametrize("content", [b"", b"only words\n" * 100])
def test_files_that_are_no_video_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.mp4").write_bytes(content)
    with pytest.raises(MediaError, match="expected a media file"):
        open_video(tmp_path / "v.mp4")


def test_an_audio_file_has_no_video_track(tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "s.wav", np.zeros(1600), 16000)
    with pytest.raises(NoVideoTrackError):
        open_video(tmp_path / "s.wav")


def test_distant_time_stamps_do_not_enlarge_the_plan(tmp_path: Path, make_video: MakeVideo) -> None:
    video = open_video(make_video(tmp_path / "v.mkv", frames=3, times_ms=[0, 40, 900_000_000]), backend="pyav")
    with pytest.raises(MediaError, match="got only 3 frames"):
        video.plan(Segment(start=None, end=None, fps=10))
    assert len(video.plan(Segment(start=0.0, end=1.0, fps=10))) == 10
