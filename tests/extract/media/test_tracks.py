"""Which track is decoded: never a cover, the default one of several, else the first."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from foal.extract.media.decord_video import DecordVideo
from foal.extract.media.probe import probe
from foal.extract.media.video import FULL, NoVideoTrackError, open_video
from foal.extract.media.waveform import NoAudioTrackError, Waveform
from foal.tests.media_fixtures import frame_with_number

MakeVideo = Callable[..., Path]
ReadNumber = Callable[[np.ndarray], int]


def cover() -> bytes:
    """A JPEG picture."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 64, "yuvj420p", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 200, np.uint8), format="rgb24").reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def write_tracks(
    path: Path,
    *,
    films: Sequence[int] = (),
    levels: Sequence[float] = (),
    default: Sequence[int] | None = None,
    with_cover: bool = False,
) -> Path:
    """Write a film of each number and a sound of each level, with those of `default` (by index) marked, and a cover."""
    with av.open(str(path), "w", options={"default_mode": "passthrough"} if path.suffix == ".mkv" else {}) as container:
        picture = container.add_stream("mjpeg", rate=25) if with_cover else None
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuvj420p"
            picture.disposition = Disposition.attached_pic
        videos = [container.add_stream("libx264", rate=25) for _ in films]
        sounds = [container.add_stream("aac", rate=16000, layout="mono") for _ in levels]
        for video in videos:
            video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        for index, stream in enumerate([*videos, *sounds]):
            if default is not None:
                stream.disposition = Disposition.default if index in default else Disposition(0)
        if picture is not None:
            packet = av.Packet(cover())
            packet.stream, packet.pts, packet.dts, packet.time_base = picture, 0, 0, Fraction(1, 25)
            packet.is_keyframe = True
            container.mux(packet)
        for video, number in zip(videos, films, strict=True):
            for _ in range(10):
                container.mux(video.encode(av.VideoFrame.from_ndarray(frame_with_number(number), format="rgb24")))
            container.mux(video.encode())
        for sound, level in zip(sounds, levels, strict=True):
            wave = level * np.sin(np.arange(6400) / 16000 * 2 * np.pi * 440)
            frame = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, 0
            container.mux(sound.encode(frame))
            container.mux(sound.encode())
    return path


def number_shown(path: Path, read_number: ReadNumber) -> int:
    """The number in the first frame, equal with both readers."""
    numbers = set()
    for backend in ("auto", "pyav"):
        ((_, _, image),) = open_video(path, backend=backend).crops([np.array([0])], [FULL])
        numbers.add(read_number(image))
    (number,) = numbers
    return number


def test_a_file_with_only_a_cover_has_no_video_track(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "s.mp4", levels=[0.5], with_cover=True)
    with av.open(str(path)) as container:
        assert container.streams.video[0].disposition & Disposition.attached_pic
    assert probe(path).video_codec is None
    with pytest.raises(NoVideoTrackError):
        open_video(path)
    assert Waveform(path).seconds == pytest.approx(0.4, abs=0.1)


def test_a_cover_beside_a_film_is_not_the_film(tmp_path: Path, read_number: ReadNumber) -> None:
    path = write_tracks(tmp_path / "v.mp4", films=[5], with_cover=True)
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 2
    assert number_shown(path, read_number) == 5
    assert len(open_video(path).shown_at) == 10


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize(("default", "expected"), [([1, 3], 1), ([0, 2], 0)])
def test_the_default_track_of_several_is_decoded(
    tmp_path: Path, read_number: ReadNumber, suffix: str, default: list[int], expected: int
) -> None:
    levels = [0.1, 0.6]
    path = write_tracks(tmp_path / f"v.{suffix}", films=[7, 300], levels=levels, default=default)
    assert number_shown(path, read_number) == [7, 300][expected]
    assert np.abs(Waveform(path).mono).max() == pytest.approx(levels[expected], abs=0.1)


def test_without_a_default_track_the_first_is_decoded(tmp_path: Path, read_number: ReadNumber) -> None:
    """FFmpeg's choice would be the track of the higher bit rate."""
    path = write_tracks(tmp_path / "v.mkv", films=[7, 341], levels=[0.1, 0.6], default=[])
    with av.open(str(path)) as container:
        assert not any(stream.disposition & Disposition.default for stream in container.streams)
    assert number_shown(path, read_number) == 7
    assert np.abs(Waveform(path).mono).max() == pytest.approx(0.1, abs=0.05)


def test_a_picture_alone_has_no_audio(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "v.mp4", films=[5])
    with pytest.raises(NoAudioTrackError):
        Waveform(path)
    assert isinstance(open_video(path).reader, DecordVideo)
