"""Timelines."""

from pathlib import Path

import numpy as np
from PIL import Image

from foal.predict.output.clip_files import by_file
from foal.predict.output.palette import class_colours
from foal.predict.output.prediction import FaceTrace
from foal.predict.output.timeline import THUMBNAIL_SIDE, draw_timeline, square
from foal.tests.predict.output.predictions import prediction, result_of, windows
from foal.tests.predict.small_model import write_clip


def colours_in(path: Path) -> set[tuple[int, ...]]:
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    return {tuple(int(part) for part in pixel) for pixel in np.unique(pixels, axis=0)}


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour.removeprefix("#")))


def test_a_timeline_has_the_colours_of_its_classes(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.avi", seconds=4.0)
    tables = [(0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8)]
    trace = FaceTrace(start=0.0, rate_hz=5.0, boxes=np.tile(np.array([0.2, 0.2, 0.6, 0.8], np.float32), (20, 1)))
    rows = [prediction(media=str(clip)), *windows(3, tables, id="/m/a.mp4", media=str(clip))]
    (found,) = by_file(result_of(*rows, traces={"/m/a.mp4": trace}))
    path = draw_timeline(tmp_path / "a.png", found)
    with Image.open(path) as image:
        assert image.width == 1300
        assert image.height > 400
    assert {rgb(colour) for colour in class_colours(("ang", "hap", "sad")).values()} <= colours_in(path)


def test_sound_alone_pictures_alone_and_several_faces_are_drawn(tmp_path: Path) -> None:
    heights = []
    for name, options in (("v.avi", {"sound": False}), ("a.avi", {"picture": False}), ("both.avi", {})):
        clip = str(write_clip(tmp_path / name, **options))  # type: ignore[arg-type]
        rows = (
            [prediction(f"{name}#face{n}", media=clip, end=1.0) for n in (1, 2)]
            if not options
            else [prediction(name, media=clip, end=1.0)]
        )
        (found,) = by_file(result_of(*rows))
        with Image.open(draw_timeline(tmp_path / f"{name}.png", found)) as image:
            heights.append(image.height)
    assert heights[1] < heights[0] < heights[2]


def test_a_thumbnail_is_the_face_or_the_middle() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[20:60, 150:190] = 255
    face = square(image, np.array([0.75, 0.2, 0.95, 0.6], np.float32))
    assert face.shape == (THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3)
    middle = THUMBNAIL_SIDE // 2
    assert face[middle, middle].tolist() == [255, 255, 255]
    assert face[2, 2].tolist() == [0, 0, 0]
    assert square(image, None).max() == 0


def test_colours_differ_for_fourteen_classes() -> None:
    assert len(set(class_colours([str(n) for n in range(14)]).values())) == 14
