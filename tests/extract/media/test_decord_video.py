"""The decord reader: fallback on damaged frames, and files that it does not open."""

from collections.abc import Callable
from pathlib import Path

import pytest

from foal.extract.media.decord_video import open_decord
from foal.extract.media.pyav_video import PyavVideo
from foal.extract.media.video_reader import DecodeFallbackError

MakeVideo = Callable[..., Path]

pytest.importorskip("decord")


@pytest.mark.parametrize(("name", "codec"), [("v.mp4", "libx264"), ("v.avi", "mpeg4")])
def test_a_damaged_frame_raises_the_fallback_with_the_path(
    tmp_path: Path, make_video: MakeVideo, name: str, codec: str
) -> None:
    path = make_video(tmp_path / name, frames=60, codec=codec, b_frames=2, damaged=slice(20, 24))
    video = open_decord(path, min_frames=0, timeline=PyavVideo(path))
    assert video is not None
    with pytest.raises(DecodeFallbackError) as caught:
        list(video.decode(range(60)))
    assert caught.value.path == path


def test_truncated_files_and_unknown_codecs_are_not_opened(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "v.mp4", frames=20)
    timeline = PyavVideo(path)
    assert open_decord(path, min_frames=20, timeline=timeline) is not None
    assert open_decord(path, min_frames=21, timeline=timeline) is None
    av1 = make_video(tmp_path / "v.mkv", frames=5, codec="libsvtav1")
    assert open_decord(av1, min_frames=0, timeline=PyavVideo(av1)) is None
    (tmp_path / "text.mp4").write_text("no video")
    assert open_decord(tmp_path / "text.mp4", min_frames=0, timeline=timeline) is None


def test_a_file_with_other_times_than_the_timeline_is_not_opened(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "v.mp4", frames=20)
    assert open_decord(path, min_frames=0, timeline=PyavVideo(make_video(tmp_path / "w.mp4", frames=19))) is None
    assert (
        open_decord(path, min_frames=0, timeline=PyavVideo(make_video(tmp_path / "w.mp4", frames=20, fps=24))) is None
    )
