"""The right pictures: frames carry their number, and the chosen ones are those nearest in presentation time."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from foal.extract.media.pyav_video import PyavVideo
from foal.extract.media.video import DecodeFallbackError, NoVideoTrackError, Segment, open_video
from foal.shared.errors import MediaError
from foal.shared.timing import face_times

MakeVideo = Callable[..., Path]
ReadNumber = Callable[[np.ndarray], int]
WHOLE = (0.0, 0.0, 1.0, 1.0)


def numbers(path: Path, segments: list[Segment], read_number: ReadNumber) -> list[list[int]]:
    """The number drawn into each chosen frame, -1 where there was none: the same with decord and with PyAV."""
    both = []
    for backend in ("auto", "pyav"):
        video = open_video(path, backend=backend)
        plans = [video.plan(segment) for segment in segments]
        found = [[-1] * len(plan) for plan in plans]
        for segment, position, picture in video.crops(plans, [WHOLE] * len(plans)):
            found[segment][position] = read_number(picture)
        both.append(found)
    assert both[0] == both[1]
    return both[0]


def nearest(times: np.ndarray, shown_at: np.ndarray) -> list[int]:
    return [int(np.argmin(np.abs(shown_at - time))) for time in times]


@pytest.mark.parametrize(
    ("name", "codec", "b_frames"),
    [("h264.mp4", "libx264", 3), ("mpeg4.avi", "mpeg4", 2), ("mpeg4.avi", "mpeg4", 0), ("h264.mkv", "libx264", 2)],
)
def test_frames_of_a_constant_rate(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber, name: str, codec: str, b_frames: int
) -> None:
    path = make_video(tmp_path / name, frames=60, codec=codec, b_frames=b_frames)
    segments = [
        Segment(start=None, end=None, fps=10),
        Segment(start=0.8, end=1.93, fps=7),
        Segment(start=0.9, end=1.0, fps=30),
    ]
    shown_at = np.arange(60) / 25
    wanted = [
        nearest(face_times(0, 2.4, 10), shown_at),
        nearest(face_times(0.8, 1.13, 7), shown_at),
        nearest(face_times(0.9, 0.1, 30), shown_at),
    ]
    assert numbers(path, segments, read_number) == wanted


def test_frames_of_a_varying_rate(tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber) -> None:
    times_ms = np.cumsum([0, *np.tile([20, 70, 33, 110], 10)]).tolist()
    path = make_video(tmp_path / "vfr.mkv", frames=len(times_ms), times_ms=times_ms, b_frames=2)
    (got,) = numbers(path, [Segment(start=0.1, end=2.0, fps=13)], read_number)
    assert got == nearest(face_times(0.1, 1.9, 13), np.array(times_ms) / 1000)


QUARTER_TURN = b"".join(
    number.to_bytes(4, "big", signed=True) for number in (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
)
MATRIX_IN_TKHD = 44


def test_a_rotated_video_is_upright(tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber) -> None:
    """As a telephone held upright writes it: pictures lying on their side, and a note that says how to turn them."""
    path = make_video(tmp_path / "v.mp4", frames=40, b_frames=2)
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + MATRIX_IN_TKHD
    content[place : place + len(QUARTER_TURN)] = QUARTER_TURN
    path.write_bytes(content)

    def lying(picture: np.ndarray) -> int:
        assert picture.shape == (160, 96, 3)
        return read_number(np.rot90(picture))

    (got,) = numbers(path, [Segment(start=0.2, end=1.4, fps=10)], lying)
    assert got == nearest(face_times(0.2, 1.2, 10), np.arange(40) / 25)


def test_a_long_video_is_decoded_no_further_than_it_is_looked_at(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "v.mp4", frames=60, b_frames=2)
    monkeypatch.setattr("foal.extract.media.video.MAX_DECORD_BYTES", 60 * 160 * 96 * 3 - 1)
    assert open_video(path).reader.__class__ is PyavVideo
    monkeypatch.setattr("foal.extract.media.video.MAX_DECORD_BYTES", 60 * 160 * 96 * 3)
    assert open_video(path).reader.__class__ is DecordVideo
    last = PyavVideo(path)
    assert [number for number, _ in last.decode({3, 20})] == [3, 20]


def test_a_picture_that_begins_late_keeps_the_files_clock(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber
) -> None:
    times_ms = [500 + 40 * number for number in range(25)]
    path = make_video(tmp_path / "late.mkv", frames=25, times_ms=times_ms, sound_hz=44100)
    (got,) = numbers(path, [Segment(start=0.0, end=1.0, fps=10)], read_number)
    assert got[:4] == [-1] * 4
    assert got[5:] == nearest(face_times(0.5, 0.5, 10), np.array(times_ms) / 1000)


def test_beyond_the_end_there_is_nothing(tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber) -> None:
    path = make_video(tmp_path / "v.mp4", frames=25)
    (got,) = numbers(path, [Segment(start=0.8, end=1.6, fps=10)], read_number)
    assert got[:2] == [21, 24]
    assert got[4:] == [-1] * 4


def test_the_part_of_the_frame(tmp_path: Path, make_video: MakeVideo) -> None:
    video = open_video(make_video(tmp_path / "v.mp4", frames=3))
    plans = [np.array([1]), np.array([1])]
    got = {n: picture.shape for n, _, picture in video.crops(plans, [(0.5, 0, 1, 1), (0.25, 0.25, 0.5, 0.75)])}
    assert got == {0: (96, 80, 3), 1: (48, 40, 3)}


def test_a_video_cut_without_encoding_again_starts_at_its_cut(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber
) -> None:
    """Its first three pictures are in the file, for the others to be decoded from, but are never shown."""
    whole = make_video(tmp_path / "whole.mp4", frames=60, b_frames=2)
    cut = tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(cut), "w", options={"avoid_negative_ts": "disabled"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        shift = round(15 / 25 / source.streams.video[0].time_base)
        begun = False
        for packet in source.demux(video=0):
            if packet.pts is None:
                continue
            begun = begun or (packet.is_keyframe and packet.pts * packet.time_base >= 12 / 25)
            if begun:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                target.mux(packet)
    (got,) = numbers(cut, [Segment(start=0.0, end=1.0, fps=25)], read_number)
    assert got == list(range(15, 40))


@pytest.mark.parametrize(
    ("name", "codec", "b_frames"),
    [("v.mp4", "libx264", 3), ("v.avi", "mpeg4", 2), ("v.avi", "mpeg4", 0), ("v.mkv", "libx264", 0)],
)
def test_both_decoders_give_the_same_pictures(
    tmp_path: Path, make_video: MakeVideo, name: str, codec: str, b_frames: int
) -> None:
    path = make_video(tmp_path / name, frames=40, codec=codec, b_frames=b_frames)
    found = []
    for backend in ("auto", "pyav"):
        video = open_video(path, backend=backend)
        plan = video.plan(Segment(start=None, end=None, fps=8))
        found.append([(position, picture) for _, position, picture in video.crops([plan], [WHOLE])])
    assert [position for position, _ in found[0]] == [position for position, _ in found[1]] == list(range(13))
    for (_, one), (_, other) in zip(*found, strict=True):
        np.testing.assert_allclose(one.astype(int), other.astype(int), atol=2)


@pytest.mark.parametrize(("name", "codec"), [("v.mp4", "libx264"), ("v.avi", "mpeg4")])
def test_what_is_left_of_a_damaged_video_is_right(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber, name: str, codec: str
) -> None:
    path = make_video(tmp_path / name, frames=60, codec=codec, b_frames=2, damaged=slice(20, 24))
    video = open_video(path)
    with pytest.raises(DecodeFallbackError):
        list(video.crops([video.plan(Segment(start=None, end=None, fps=25))], [WHOLE]))
    patient = open_video(path, backend="pyav")
    plan = patient.plan(Segment(start=None, end=None, fps=25))
    assert len(plan) == 60
    got = {at: read_number(picture) for _, at, picture in patient.crops([plan], [WHOLE])}
    assert all(number == at for at, number in got.items())
    # A key frame every twelve: the damage costs what stands between two of them, or little more.
    assert set(range(10)) | set(range(40, 60)) <= set(got)


def test_a_codec_that_decord_does_not_know(tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber) -> None:
    path = make_video(tmp_path / "v.mkv", frames=25, codec="libsvtav1")
    assert numbers(path, [Segment(start=0.0, end=1.0, fps=5)], read_number) == [[2, 7, 12, 17, 22]]


def test_a_cut_off_video_gives_what_it_has(tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber) -> None:
    path = make_video(tmp_path / "v.avi", frames=500, codec="mpeg4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (got,) = numbers(path, [Segment(start=0.0, end=20.0, fps=25)], read_number)
    known = [number for number in got if number >= 0]
    # Nothing twice, nothing wrong, and nothing for the time after the cut.
    assert known == list(range(len(known)))
    assert set(got[len(known) :]) == {-1}
    assert 100 < len(known) < 400


@pytest.mark.parametrize("content", [b"", b"only words\n" * 100])
def test_what_is_no_video(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.mp4").write_bytes(content)
    with pytest.raises(MediaError, match="expected a media file"):
        open_video(tmp_path / "v.mp4")


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "s.wav", np.zeros(1600), 16000)
    with pytest.raises(NoVideoTrackError):
        open_video(tmp_path / "s.wav")
