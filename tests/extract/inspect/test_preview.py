"""Previews of one video: the picture and the face of each request, or why there is none."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from foal.extract.encoders.weights import FACENET_SIZE
from foal.extract.face.detector import cut_face
from foal.extract.inspect.preview import (
    DEFAULT_FACE_SIZE,
    MAX_CROP_SIDE,
    FramePreview,
    PreviewRequest,
    face_image,
    previews,
)
from foal.extract.media.video import Segment, open_video
from foal.shared.store.feature_store import StreamInfo
from foal.shared.utterance import Utterance

MakeVideo = Callable[..., Path]
ReadNumber = Callable[[np.ndarray], int]
RIGHT = (0.5, 0.0, 1.0, 1.0)


def face_info(rate_hz: float = 10.0, **config: object) -> StreamInfo:
    return StreamInfo(
        name="face",
        frame_shape=(4,),
        rate_hz=rate_hz,
        encoder="random:test",
        revision="",
        weights="0",
        random_weights=True,
        config_hash="0" * 64,
        dtype="float16",
        config={"region": "face", "margin": 0.2, **config},
    )


def request(
    name: str, position: int, *, box: list[float] | None = None, crop: str = "full", video: str = "v.mp4"
) -> PreviewRequest:
    return PreviewRequest(
        utterance=Utterance(id=name, corpus="test", video=video, crop=crop),
        position=position,
        frames=position + 1,
        valid=1,
        note="",
        box=None if box is None else np.array(box, np.float32),
    )


def number_of(preview: FramePreview, read_number: ReadNumber) -> int:
    assert preview.picture is not None, preview.problem
    return read_number(np.asarray(preview.picture))


@contextmanager
def at_most(megabytes: int) -> Iterator[None]:
    """Of NumPy's and Python's memory."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes << 20
    finally:
        tracemalloc.stop()


def test_a_damaged_video_shows_its_intact_frames(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber
) -> None:
    make_video(tmp_path / "v.mp4", frames=60, b_frames=2, damaged=slice(20, 24))
    requests = [request(str(number), number) for number in (5, 20, 22, 50)]
    found = previews(tmp_path, "v.mp4", requests, face_info(rate_hz=25.0))
    assert [number_of(found[name], read_number) for name in ("5", "50")] == [5, 50]
    assert any(found[name].problem == "this frame cannot be decoded" for name in ("20", "22"))
    assert found["50"].seconds == pytest.approx(50.5 / 25)


def test_files_that_are_no_video_have_a_problem(tmp_path: Path, make_video: MakeVideo) -> None:
    (tmp_path / "words.mp4").write_text("a text file that was given the wrong name\n" * 20)
    assert (
        "words.mp4: expected a media file"
        in previews(tmp_path, "words.mp4", [request("a", 0)], face_info())["a"].problem
    )
    assert (
        previews(tmp_path, "gone.mp4", [request("a", 0)], face_info())["a"].problem == "gone.mp4: there is no such file"
    )
    make_video(tmp_path / "short.mp4", frames=5)
    beyond = previews(tmp_path, "short.mp4", [request("a", 40)], face_info())["a"]
    assert beyond.picture is None
    assert beyond.problem


def test_the_face_has_the_size_and_margin_of_the_stream(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "v.mp4", frames=10)
    video = open_video(tmp_path / "v.mp4")
    plan = video.plan(Segment(start=None, end=None, fps=10.0))
    pictures = {at: picture for _, at, picture in video.crops([plan], [RIGHT])}
    for size, margin in ((64, 0.5), (None, 0.0)):
        seen = request("a", 2, box=[0.25, 0.25, 0.75, 0.5], crop="right")
        found = previews(tmp_path, "v.mp4", [seen], face_info(size=size, margin=margin))["a"]
        wanted = cut_face(pictures[2], np.array([20, 24, 60, 48], np.float32), size=size or 160, margin=margin)
        assert found.face is not None
        np.testing.assert_array_equal(np.asarray(found.face), wanted.round().byte().permute(1, 2, 0).numpy())
    assert DEFAULT_FACE_SIZE == FACENET_SIZE


def test_a_face_that_reaches_far_out_of_a_large_picture_takes_little_memory(tmp_path: Path) -> None:
    picture = np.zeros((1000, 1200, 3), np.uint8)
    picture[500:] = 200
    with at_most(4 * MAX_CROP_SIDE**2 >> 20):
        face = face_image(picture, np.array([-1, -1, 2, 2], np.float32), face_info(size=64, margin=2.0))
    shown = np.asarray(face).astype(int)
    assert shown.shape == (64, 64, 3)
    assert shown[:28].max() <= 1
    assert shown[36:].min() >= 199


def test_a_face_larger_than_a_narrow_crop_is_shown(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "v.mp4", frames=10)
    narrow = request("a", 2, box=[-0.9, 0.1, 1.9, 0.6], crop="0.4,0,0.6,1")
    assert previews(tmp_path, "v.mp4", [narrow], face_info())["a"].face is not None


def test_an_absurd_frame_rate_makes_no_large_plan(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "v.mp4", frames=100)
    with at_most(8):
        found = previews(tmp_path, "v.mp4", [request("a", 5)], face_info(rate_hz=1e6))
    assert found["a"].picture is not None


def test_an_impossible_box_takes_little_memory_and_does_not_raise(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "v.mp4", frames=10)
    for corner in (30.0, 1e6, 3e38):
        with at_most(100):
            result = previews(tmp_path, "v.mp4", [request("a", 2, box=[-corner, -corner, corner, corner])], face_info())
        assert result["a"].picture or result["a"].problem
