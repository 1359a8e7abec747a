"""One actor in front of a wall: the parts are drawn once and composed for every frame."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import drawing
from .cast import FaceDesign
from .drawing import FaceCanvas
from .pose import Pose, blend

WIDTH, HEIGHT = 360, 256  # pixels of an actor's half of the picture, without the letterbox
MOODS, MOUTHS = 4, 4  # valence and arousal have 2 * 4 + 1 levels each, a mouth opens in 4 steps

PixelBox = tuple[int, int, int, int]  # left, top, right, bottom in pixels
_Part = tuple[PixelBox, NDArray[np.uint16]]  # of the moving layer, with its drawing

_SCALE = 4  # supersampling factor
_HEAD_WIDTH, _HEAD_HEIGHT = 176, 208  # pixels of the layer that moves
_MIDDLE = (_HEAD_WIDTH // 2, 100)  # of the face oval in that layer
_SEAT = (WIDTH // 2, 116)  # of the face oval in the half when the head is at rest


class Expression(NamedTuple):
    """The expression of a face in one frame, in steps, so that drawings can be reused."""

    valence: int = MOODS  # -MOODS (negative) to MOODS (positive)
    arousal: int = -MOODS  # -MOODS (calm) to MOODS (aroused); with the default valence a face at rest
    mouth: int = 0  # 0 (shut) to MOUTHS (wide open)
    shut: bool = False  # whether the eyes are closed


class Portrait:
    """Draws one actor; each part is drawn when it is first needed and then cached."""

    def __init__(self, face: FaceDesign) -> None:
        self._face = face
        self._scene = self._draw_scene()
        self._bare = Image.new("RGBA", (_HEAD_WIDTH * _SCALE, _HEAD_HEIGHT * _SCALE))
        canvas = self._canvas(self._bare, _MIDDLE)
        drawing.back_hair(canvas, face)
        drawing.head(canvas, face)
        drawing.front_hair(canvas, face)
        # The layer is black outside the head, so the averaged colours are premultiplied by the opacity.
        layer = _averaged(self._bare)  # (head height, head width, 4)
        self._light = _light()
        self._skin = (layer[:, :, :3] * self._light).astype(np.uint16)
        passes = np.rint(256 * (1 - layer[:, :, 3:] / 255)).astype(np.uint16)  # of the scene, in 256ths
        # One copy per colour: NumPy multiplies equal shapes several times faster than it broadcasts the last axis.
        self._passes = np.repeat(passes, 3, axis=2)
        self._eyes: dict[tuple[int, int, bool], _Part] = {}
        self._mouths: dict[tuple[int, int, int], _Part] = {}

    def paint(self, canvas: NDArray[np.uint8], expression: Expression, shift: tuple[int, int]) -> None:
        """Fill `canvas` (256, 360, 3) RGB with the actor, the head moved by `shift` pixels (x, y)."""
        canvas[:] = self._scene
        left, top = _SEAT[0] - _MIDDLE[0] + shift[0], _SEAT[1] - _MIDDLE[1] + shift[1]
        behind = canvas[top : top + _HEAD_HEIGHT, left : left + _HEAD_WIDTH]
        behind[:] = (behind * self._passes >> 8) + self._head(expression)

    def _head(self, expression: Expression) -> NDArray[np.uint16]:
        """The moving layer, (head height, head width, 3), colours multiplied by opacity."""
        layer = self._skin.copy()
        for (left, top, right, bottom), part in (self._drawn_eyes(expression), self._drawn_mouth(expression)):
            layer[top:bottom, left:right] = part
        return layer

    def _drawn_eyes(self, expression: Expression) -> _Part:
        key = expression.valence, expression.arousal, expression.shut
        if key not in self._eyes:
            box = self._box(-0.58, 0.14, 0.70)
            canvas = self._canvas_on_skin(box)
            drawing.eyes(canvas, self._face, _pose(expression), shut=expression.shut)
            self._eyes[key] = self._lit(box, canvas)
        return self._eyes[key]

    def _drawn_mouth(self, expression: Expression) -> _Part:
        key = expression.valence, expression.arousal, expression.mouth
        if key not in self._mouths:
            box = self._box(0.22, 0.97, 0.56)
            canvas = self._canvas_on_skin(box)
            drawing.mouth(canvas, self._face, _pose(expression), expression.mouth / MOUTHS)
            self._mouths[key] = self._lit(box, canvas)
        return self._mouths[key]

    def _lit(self, box: PixelBox, canvas: FaceCanvas) -> _Part:
        left, top, right, bottom = box
        return box, (_averaged(canvas.image) * self._light[top:bottom, left:right]).astype(np.uint16)

    def _box(self, top: float, bottom: float, half_width: float) -> PixelBox:
        """The pixels of the moving layer between two heights of the face, given in face units."""
        (x, y), unit = _MIDDLE, self._face.half_height
        left, right = x - half_width * unit, x + half_width * unit
        return round(left), round(y + top * unit), round(right), round(y + bottom * unit)

    def _canvas_on_skin(self, box: PixelBox) -> FaceCanvas:
        """A canvas with the part `box` of the bare face."""
        left, top, right, bottom = (edge * _SCALE for edge in box)
        bare = self._bare.crop((left, top, right, bottom)).convert("RGB")
        return self._canvas(bare, (_MIDDLE[0] - box[0], _MIDDLE[1] - box[1]))

    def _canvas(self, image: Image.Image, middle: tuple[int, int]) -> FaceCanvas:
        return FaceCanvas(image, (middle[0] * _SCALE, middle[1] * _SCALE), self._face.half_height * _SCALE)

    def _draw_scene(self) -> NDArray[np.uint8]:
        """The wall, lit from above, and the shoulders: (256, 360, 3)."""
        image = Image.new("RGBA", (WIDTH * _SCALE, HEIGHT * _SCALE))
        drawing.shoulders(self._canvas(image, _SEAT), self._face)
        layer = _averaged(image)
        wall = np.asarray(self._face.wall) * np.linspace(1.14, 0.82, HEIGHT)[:, None, None]  # (256, 1, 3)
        return np.clip(layer[:, :, :3] + wall * (1 - layer[:, :, 3:] / 255), 0, 255).astype(np.uint8)


def _pose(expression: Expression) -> Pose:
    return blend(expression.valence / MOODS, expression.arousal / MOODS)


def _averaged(image: Image.Image) -> NDArray[np.float32]:
    """Supersampled image to (height, width, channels), 0 to 255."""
    pixels = np.asarray(image, np.uint16)
    # Sums of strided arrays are several times faster than means over axes of four.
    rows = sum(pixels[first::_SCALE] for first in range(1, _SCALE)) + pixels[::_SCALE]
    total = sum(rows[:, first::_SCALE] for first in range(1, _SCALE)) + rows[:, ::_SCALE]
    averaged: NDArray[np.float32] = np.divide(total, _SCALE**2, dtype=np.float32)
    return averaged


def _light() -> NDArray[np.float32]:
    """Shading of the head, (head height, head width, 1), lit from the upper left."""
    x = (np.arange(_HEAD_WIDTH, dtype=np.float32)[None, :] - _MIDDLE[0]) / 60
    y = (np.arange(_HEAD_HEIGHT, dtype=np.float32)[:, None] - _MIDDLE[1]) / 80
    dark = np.clip((x + 0.25) ** 2 + 0.6 * (y + 0.2) ** 2, 0, 2.2)
    return (1 - 0.14 * dark)[:, :, None].astype(np.float32)
