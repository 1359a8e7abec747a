"""Previews of a video: the frame and the face of each request, or the problem."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from foal.extract.encoders.weights import FACENET_SIZE
from foal.extract.face.cropping import cut_square, cut_stretched
from foal.extract.inspect.preview import (
    DEFAULT_FACE_SIZE,
    MAX_CROP_SIDE,
    FramePreview,
    PreviewRequest,
    face_image,
    previews,
    stream_detector,
)
from foal.extract.inspect.sheet_layout import OTHER_COLOUR, thumbnail
from foal.extract.media.video import FULL, Segment, open_video
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
def assert_memory_below(megabytes: int) -> Iterator[None]:
    """Check that NumPy and Python allocate less than this."""
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
    result = previews(tmp_path, "v.mp4", requests, face_info(rate_hz=25.0))
    assert [number_of(result[name], read_number) for name in ("5", "50")] == [5, 50]
    assert any(result[name].problem == "this frame cannot be decoded" for name in ("20", "22"))
    assert result["50"].seconds == pytest.approx(50.5 / 25)


def test_unreadable_videos_and_missing_frames_are_reported(tmp_path: Path, make_video: MakeVideo) -> None:
    (tmp_path / "words.mp4").write_text("a text file that was given the wrong name\n" * 20)
    assert (
        "words.mp4: expected a media file"
        in previews(tmp_path, "words.mp4", [request("a", 0)], face_info())["a"].problem
    )
    assert previews(tmp_path, "gone.mp4", [request("a", 0)], face_info())["a"].problem == "gone.mp4: no such file"
    make_video(tmp_path / "short.mp4", frames=5)
    beyond = previews(tmp_path, "short.mp4", [request("a", 40)], face_info())["a"]
    assert beyond.picture is None
    assert beyond.problem


def test_the_face_has_the_size_and_margin_of_the_stream(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "v.mp4", frames=10)
    video = open_video(tmp_path / "v.mp4")
    plan = video.plan(Segment(start=None, end=None, fps=10.0))
    images = {index: image for _, index, image in video.crops([plan], [RIGHT])}
    for size, margin in ((64, 0.5), (None, 0.0)):
        right = request("a", 2, box=[0.25, 0.25, 0.75, 0.5], crop="right")
        preview = previews(tmp_path, "v.mp4", [right], face_info(size=size, margin=margin))["a"]
        expected = cut_square(images[2], np.array([20, 24, 60, 48], np.float32), size=size or 160, margin=margin)
        assert preview.face is not None
        np.testing.assert_array_equal(np.asarray(preview.face), expected.round().byte().permute(1, 2, 0).numpy())
        info = face_info(size=size, margin=margin, crop_shape="stretched")
        stretched = previews(tmp_path, "v.mp4", [right], info)["a"]
        expected = cut_stretched(images[2], np.array([20, 24, 60, 48], np.float32), size=size or 160, margin=margin)
        np.testing.assert_array_equal(np.asarray(stretched.face), expected.byte().permute(1, 2, 0).numpy())
    assert DEFAULT_FACE_SIZE == FACENET_SIZE


def test_the_other_faces_are_drawn_as_thin_boxes(synthetic_corpus: Path) -> None:
    (path, *_) = sorted(synthetic_corpus.glob("Session1/dialog/avi/DivX/*.avi"))
    video = str(path.relative_to(synthetic_corpus))
    detector = stream_detector(face_info())
    frames = open_video(path)
    ((_, _, image),) = frames.crops([frames.plan(Segment(start=0.0, end=0.2, fps=10.0))[1:]], [FULL])
    height, width = image.shape[:2]
    left, right = sorted(
        (np.asarray(face.box / (width, height, width, height), np.float32) for face in detector.detect([image])[0]),
        key=lambda box: float(box[0]),
    )
    both = request("both", 1, box=left.tolist(), video=video)
    # The same face in the left half of the frame.
    alone = request("alone", 1, box=(left * [2, 1, 2, 1]).tolist(), crop="left", video=video)
    none = request("none", 1, video=video)
    shown = previews(synthetic_corpus, video, [both, alone, none], face_info(), detector)
    assert {name: preview.others for name, preview in shown.items()} == {"both": 1, "alone": 0, "none": 2}
    for name, box, others in (("both", left, [right]), ("none", None, [left, right])):
        picture = shown[name].picture
        assert picture is not None
        sheet = np.asarray(picture).astype(int)
        plain = np.asarray(thumbnail(image, box)).astype(int)
        drawn = (np.abs(sheet - plain).max(-1) > 0) & (sheet == OTHER_COLOUR).all(-1)
        size = np.array([plain.shape[1], plain.shape[0]] * 2)
        perimeter = sum(2 * float(np.sum((other[2:] - other[:2]) * size[:2])) for other in others)
        # One pixel wide.
        assert 0.8 * perimeter < drawn.sum() < 1.1 * perimeter
        for x0, y0, x1, y1 in (np.round(other * size).astype(int) for other in others):
            assert tuple(sheet[(y0 + y1) // 2, x0]) == tuple(sheet[y1, (x0 + x1) // 2]) == OTHER_COLOUR
    assert previews(synthetic_corpus, video, [both], face_info())["both"].others == 0


def test_a_face_that_exceeds_a_large_frame_takes_little_memory(tmp_path: Path) -> None:
    image = np.zeros((1000, 1200, 3), np.uint8)
    image[500:] = 200
    with assert_memory_below(4 * MAX_CROP_SIDE**2 >> 20):
        face = face_image(image, np.array([-1, -1, 2, 2], np.float32), face_info(size=64, margin=2.0))
    pixels = np.asarray(face).astype(int)
    assert pixels.shape == (64, 64, 3)
    assert pixels[:28].max() <= 1
    assert pixels[36:].min() >= 199


def test_a_face_larger_than_a_narrow_crop_is_shown(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "v.mp4", frames=10)
    narrow = request("a", 2, box=[-0.9, 0.1, 1.9, 0.6], crop="0.4,0,0.6,1")
    assert previews(tmp_path, "v.mp4", [narrow], face_info())["a"].face is not None


def test_an_implausible_frame_rate_allocates_no_large_plan(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "v.mp4", frames=100)
    with assert_memory_below(8):
        result = previews(tmp_path, "v.mp4", [request("a", 5)], face_info(rate_hz=1e6))
    assert result["a"].picture is not None


def test_an_implausible_box_takes_little_memory_and_does_not_raise(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "v.mp4", frames=10)
    for corner in (30.0, 1e6, 3e38):
        with assert_memory_below(100):
            result = previews(tmp_path, "v.mp4", [request("a", 2, box=[-corner, -corner, corner, corner])], face_info())
        assert result["a"].picture or result["a"].problem
