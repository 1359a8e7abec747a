"""The PyAV reader decodes no further than requested, and continues after damaged frames."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foal.extract.media.pyav_video import PyavVideo
from foal.shared.errors import MediaError

MakeVideo = Callable[..., Path]
ReadNumber = Callable[[np.ndarray], int]


def test_requested_frames_are_decoded_in_order_and_once(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber
) -> None:
    video = PyavVideo(make_video(tmp_path / "v.mp4", frames=60, b_frames=2))
    frames = list(video.decode({20, 3}))
    assert [index for index, _ in frames] == [3, 20]
    assert [read_number(image) for _, image in frames] == [3, 20]
    assert list(video.decode(set())) == []


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_times_equal_those_of_the_container(tmp_path: Path, make_video: MakeVideo, suffix: str) -> None:
    times_ms = [0, 20, 90, 123, 240, 300]
    video = PyavVideo(make_video(tmp_path / f"v.{suffix}", frames=6, times_ms=times_ms, b_frames=2))
    np.testing.assert_allclose(video.times, np.array(times_ms) / 1000, atol=1e-3)


@pytest.mark.parametrize(("name", "codec"), [("v.mp4", "libx264"), ("v.avi", "mpeg4")])
def test_frames_after_damaged_ones_are_correct(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber, name: str, codec: str
) -> None:
    video = PyavVideo(make_video(tmp_path / name, frames=60, codec=codec, b_frames=2, damaged=slice(20, 24)))
    assert len(video.times) == 60
    numbers = {index: read_number(image) for index, image in video.decode(range(60))}
    assert all(number == index for index, number in numbers.items())
    # With a key frame every twelve frames, little more than one interval is lost.
    assert set(range(10)) | set(range(40, 60)) <= set(numbers)


def test_an_audio_file_is_refused(tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "s.wav", np.zeros(1600), 16000)
    with pytest.raises(MediaError, match="codec of the video cannot be decoded"):
        PyavVideo(tmp_path / "s.wav")
