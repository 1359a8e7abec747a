"""What a contact sheet shows of one file: the picture and the face of each look, or why there is none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foal.extract.detect import cut_face
from foal.extract.facenet import FACENET_SIZE
from foal.extract.glimpse import USUAL_SIZE, Glimpse, Look, glimpses
from foal.extract.picture import Stretch, Video
from foal.shared.index import Modality
from foal.shared.utterance import Utterance

MakeVideo = Callable[..., Path]
ReadNumber = Callable[[np.ndarray], int]
RIGHT = (0.5, 0.0, 1.0, 1.0)


def modality(rate_hz: float = 10.0, **config: object) -> Modality:
    return Modality(
        name="face", frame_shape=(4,), rate_hz=rate_hz, encoder="random:test", revision="", weights="0",
        random_weights=True, key="0" * 64, dtype="float16", config={"view": "face", "margin": 0.2, **config},
    )  # fmt: skip


def look(name: str, position: int, *, box: list[float] | None = None, crop: str = "full", video: str = "v.mp4") -> Look:
    return Look(
        utterance=Utterance(id=name, corpus="test", video=video, crop=crop), position=position, frames=position + 1,
        valid=1, note="", box=None if box is None else np.array(box, np.float32),
    )  # fmt: skip


def number_of(glimpse: Glimpse, read_number: ReadNumber) -> int:
    assert glimpse.picture is not None, glimpse.problem
    return read_number(np.asarray(glimpse.picture))


def test_a_damaged_video_shows_what_is_left_of_it(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber
) -> None:
    make_video(tmp_path / "v.mp4", frames=60, b_frames=2, damaged=slice(20, 24))
    looks = [look(str(number), number) for number in (5, 20, 22, 50)]
    found = glimpses(tmp_path, "v.mp4", looks, modality(rate_hz=25.0))
    assert [number_of(found[name], read_number) for name in ("5", "50")] == [5, 50]
    assert any(found[name].problem == "this picture cannot be decoded" for name in ("20", "22"))
    assert found["50"].seconds == pytest.approx(50.5 / 25)


def test_a_file_that_is_no_video_costs_its_cells_only(tmp_path: Path, make_video: MakeVideo) -> None:
    (tmp_path / "words.mp4").write_text("a text file that was given the wrong name\n" * 20)
    assert (
        "words.mp4: expected a media file" in glimpses(tmp_path, "words.mp4", [look("a", 0)], modality())["a"].problem
    )
    assert glimpses(tmp_path, "gone.mp4", [look("a", 0)], modality())["a"].problem == "gone.mp4: there is no such file"
    make_video(tmp_path / "short.mp4", frames=5)
    beyond = glimpses(tmp_path, "short.mp4", [look("a", 40)], modality())["a"]
    assert beyond.picture is None
    assert beyond.problem


def test_the_face_has_the_streams_size_and_margin(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "v.mp4", frames=10)
    video = Video(tmp_path / "v.mp4")
    plan = video.plan(Stretch(start=None, end=None, fps=10.0))
    pictures = {at: picture for _, at, picture in video.pictures([plan], [RIGHT])}
    for size, margin in ((64, 0.5), (None, 0.0)):
        seen = look("a", 2, box=[0.25, 0.25, 0.75, 0.5], crop="right")
        found = glimpses(tmp_path, "v.mp4", [seen], modality(size=size, margin=margin))["a"]
        wanted = cut_face(pictures[2], np.array([20, 24, 60, 48], np.float32), size=size or 160, margin=margin)
        assert found.face is not None
        np.testing.assert_array_equal(np.asarray(found.face), wanted.round().byte().permute(1, 2, 0).numpy())
    assert USUAL_SIZE == FACENET_SIZE
