"""The parts of a synthetic face: positions in face units, and changes with the expression."""

import numpy as np
import pytest
from PIL import Image

from foal.manifests.synthetic.cast import CAST, RGB
from foal.manifests.synthetic.drawing import THROAT, FaceCanvas, eyes, head, mix, mouth

GREY: RGB = (90, 90, 90)
FACE = CAST[0].face


def blank() -> FaceCanvas:
    return FaceCanvas(Image.new("RGB", (200, 200), GREY), (100.0, 100.0), 50.0)


def pixels(canvas: FaceCanvas) -> np.ndarray:
    return np.asarray(canvas.image)


def count(canvas: FaceCanvas, colour: RGB) -> int:
    return int((pixels(canvas) == colour).all(-1).sum())


def test_mixed_colours_are_between_their_parts() -> None:
    assert mix((0, 100, 200), (100, 100, 0), 0.0) == (0, 100, 200)
    assert mix((0, 100, 200), (100, 100, 0), 0.25) == (25, 100, 150)
    assert mix((0, 100, 200), (100, 100, 0), 1.0) == (100, 100, 0)


def test_shapes_are_placed_in_face_units() -> None:
    canvas = blank()
    canvas.ellipse(0.5, -0.5, 0.2, 0.1, fill=(255, 0, 0))
    rows, columns = np.nonzero((pixels(canvas) == (255, 0, 0)).all(-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (70, 80, 115, 135)
    canvas.line([(-1, 1), (1, 1)], 0.1, fill=(0, 0, 255))
    rows, columns = np.nonzero((pixels(canvas) == (0, 0, 255)).all(-1))
    assert abs(rows.mean() - 150) <= 0.5
    assert columns.min() <= 50
    assert columns.max() >= 150


def test_shut_eyes_hide_the_iris() -> None:
    open_eyes, shut_eyes = blank(), blank()
    for canvas, shut in ((open_eyes, False), (shut_eyes, True)):
        head(canvas, FACE)
        eyes(canvas, FACE, 0.0, shut=shut)
    assert count(open_eyes, FACE.iris) > 0
    assert count(shut_eyes, FACE.iris) == 0


@pytest.mark.parametrize("valence", [-1.0, 0.0, 1.0])
def test_an_open_mouth_shows_the_throat(valence: float) -> None:
    sizes = []
    for opening in (0.0, 0.5, 1.0):
        canvas = blank()
        mouth(canvas, FACE, valence, opening)
        sizes.append(count(canvas, THROAT))
    assert sizes[0] == 0
    assert sizes[0] < sizes[1] < sizes[2]
