"""The parts of a synthetic face: positions in face units, and changes with the expression."""

import numpy as np
import pytest
from PIL import Image

from foal.manifests.synthetic.cast import CAST, RGB
from foal.manifests.synthetic.drawing import BROW_LINE, THROAT, FaceCanvas, eyes, head, mix, mouth
from foal.manifests.synthetic.pose import ANGRY, HAPPY, NEUTRAL, SAD, Pose

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
        eyes(canvas, FACE, NEUTRAL, shut=shut)
    assert count(open_eyes, FACE.iris) > 0
    assert count(shut_eyes, FACE.iris) == 0


@pytest.mark.parametrize("pose", [NEUTRAL, HAPPY, SAD, ANGRY], ids=["neutral", "happy", "sad", "angry"])
def test_an_open_mouth_shows_the_throat(pose: Pose) -> None:
    sizes = []
    for opening in (0.0, 0.5, 1.0):
        canvas = blank()
        mouth(canvas, FACE, pose, opening)
        sizes.append(count(canvas, THROAT))
    assert sizes[0] == 0
    assert sizes[0] < sizes[1] < sizes[2]


def brow_ends(pose: Pose) -> tuple[float, float]:
    """Rows of the inner and of the outer end of the brow on the right side of the image, in face units."""
    canvas = FaceCanvas(Image.new("RGB", (400, 400), GREY), (200.0, 200.0), 100.0)
    eyes(canvas, FACE, pose, shut=True)
    brow = (pixels(canvas) == mix(FACE.hair, (40, 18, 14), 0.25)).all(-1)
    brow[:, :200] = False
    columns = np.nonzero(brow.any(axis=0))[0]
    inner, outer = (np.nonzero(brow[:, column])[0].mean() for column in (columns[4], columns[-5]))
    return (inner - 200) / 100, (outer - 200) / 100


def test_brows_slant_down_to_the_outside_in_sadness_and_to_the_inside_in_anger() -> None:
    inner, outer = brow_ends(NEUTRAL)
    assert abs(inner - outer) < 0.05
    sad_inner, sad_outer = brow_ends(SAD)
    assert sad_inner < BROW_LINE - 0.04 < BROW_LINE + 0.05 < sad_outer
    angry_inner, angry_outer = brow_ends(ANGRY)
    assert angry_outer < BROW_LINE + 0.02 < BROW_LINE + 0.07 < angry_inner
    assert max(brow_ends(HAPPY)) < min(inner, outer)


def test_the_corners_of_the_mouth_are_up_in_a_smile_and_down_in_sadness() -> None:
    corners = {}
    for name, pose in (("happy", HAPPY), ("neutral", NEUTRAL), ("sad", SAD)):
        canvas = FaceCanvas(Image.new("RGB", (400, 400), GREY), (200.0, 200.0), 100.0)
        mouth(canvas, FACE, pose, 0.0)
        lips = (pixels(canvas) == FACE.lips).all(-1)
        columns = np.nonzero(lips.any(axis=0))[0]
        corners[name] = (np.nonzero(lips[:, columns[2]])[0].mean() - 200) / 100
    assert corners["happy"] < corners["neutral"] - 0.04 < corners["neutral"] + 0.02 < corners["sad"]
