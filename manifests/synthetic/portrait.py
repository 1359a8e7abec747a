"""One actor before a wall: drawn once in parts, put together anew for every frame."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import drawing
from .cast import Face
from .drawing import Sheet

WIDTH, HEIGHT = 360, 256  # pixels of an actor's half of the picture, without the letterbox
VALENCES, MOUTHS = 8, 4  # an expression has 2 * 8 + 1 levels, a mouth opens in 4 steps

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels

_SCALE = 4  # drawn so many times larger, then averaged down
_HEAD_WIDTH, _HEAD_HEIGHT = 176, 208  # pixels of the layer that moves
_MIDDLE = (_HEAD_WIDTH // 2, 100)  # of the face oval in that layer
_SEAT = (WIDTH // 2, 116)  # of the face oval in the half when the head is at rest


class Look(NamedTuple):
    """What a face does in one frame; in steps, so that each drawing serves many frames."""

    valence: int = 0  # -VALENCES (grieved) to VALENCES (pleased); 0 is a face at rest
    mouth: int = 0  # 0 (shut) to MOUTHS (wide open)
    shut: bool = False  # the eyes


class Portrait:
    """Draws the owner of `face`; every part is drawn when it is first wanted and then kept."""

    def __init__(self, face: Face) -> None:
        self._face = face
        self._scene = self._draw_scene()
        self._bare = Image.new("RGBA", (_HEAD_WIDTH * _SCALE, _HEAD_HEIGHT * _SCALE))
        sheet = self._sheet(self._bare, _MIDDLE)
        drawing.back_hair(sheet, face)
        drawing.head(sheet, face)
        drawing.front_hair(sheet, face)
        # Outside the head the layer is black, so averaging leaves the colours multiplied by the opacity.
        layer = _averaged(self._bare)  # (head height, head width, 4)
        self._skin = layer[:, :, :3]
        self._passes = np.rint(256 * (1 - layer[:, :, 3:] / 255)).astype(np.uint16)  # of the scene, in 256ths
        self._light = _light()
        self._eyes: dict[tuple[int, bool], tuple[Box, NDArray[np.float32]]] = {}
        self._mouths: dict[tuple[int, int], tuple[Box, NDArray[np.float32]]] = {}
        self._heads: dict[Look, NDArray[np.uint16]] = {}

    def paint(self, canvas: NDArray[np.uint8], look: Look, shift: tuple[int, int]) -> None:
        """Fill `canvas` (256, 360, 3) RGB with the actor, the head moved by `shift` pixels (x, y)."""
        canvas[:] = self._scene
        left, top = _SEAT[0] - _MIDDLE[0] + shift[0], _SEAT[1] - _MIDDLE[1] + shift[1]
        behind = canvas[top : top + _HEAD_HEIGHT, left : left + _HEAD_WIDTH]
        behind[:] = (behind * self._passes >> 8) + self._head(look)

    def _head(self, look: Look) -> NDArray[np.uint16]:
        """The moving layer, (head height, head width, 3), colours multiplied by opacity."""
        if look not in self._heads:
            layer = self._skin.copy()
            for (left, top, right, bottom), part in (
                self._drawn_eyes(look.valence, look.shut),
                self._drawn_mouth(look.valence, look.mouth),
            ):
                layer[top:bottom, left:right] = part
            self._heads[look] = (layer * self._light).astype(np.uint16)
        return self._heads[look]

    def _drawn_eyes(self, valence: int, shut: bool) -> tuple[Box, NDArray[np.float32]]:
        if (valence, shut) not in self._eyes:
            box = self._box(-0.58, 0.14, 0.70)
            sheet = self._part(box)
            drawing.eyes(sheet, self._face, valence / VALENCES, shut=shut)
            self._eyes[valence, shut] = box, _averaged(sheet.image)
        return self._eyes[valence, shut]

    def _drawn_mouth(self, valence: int, mouth: int) -> tuple[Box, NDArray[np.float32]]:
        if (valence, mouth) not in self._mouths:
            box = self._box(0.22, 0.97, 0.56)
            sheet = self._part(box)
            drawing.mouth(sheet, self._face, valence / VALENCES, mouth / MOUTHS)
            self._mouths[valence, mouth] = box, _averaged(sheet.image)
        return self._mouths[valence, mouth]

    def _box(self, top: float, bottom: float, half_width: float) -> Box:
        """The part of the moving layer between two heights of the face; face units to whole pixels."""
        (x, y), unit = _MIDDLE, self._face.half_height
        left, right = x - half_width * unit, x + half_width * unit
        return round(left), round(y + top * unit), round(right), round(y + bottom * unit)

    def _part(self, box: Box) -> Sheet:
        """A sheet that shows the bare face inside `box`."""
        left, top, right, bottom = (edge * _SCALE for edge in box)
        bare = self._bare.crop((left, top, right, bottom)).convert("RGB")
        return self._sheet(bare, (_MIDDLE[0] - box[0], _MIDDLE[1] - box[1]))

    def _sheet(self, image: Image.Image, middle: tuple[int, int]) -> Sheet:
        return Sheet(image, (middle[0] * _SCALE, middle[1] * _SCALE), self._face.half_height * _SCALE)

    def _draw_scene(self) -> NDArray[np.uint8]:
        """The wall, lit from above, and the shoulders: (256, 360, 3)."""
        image = Image.new("RGBA", (WIDTH * _SCALE, HEIGHT * _SCALE))
        drawing.shoulders(self._sheet(image, _SEAT), self._face)
        layer = _averaged(image)
        wall = np.asarray(self._face.wall) * np.linspace(1.14, 0.82, HEIGHT)[:, None, None]  # (256, 1, 3)
        return np.clip(layer[:, :, :3] + wall * (1 - layer[:, :, 3:] / 255), 0, 255).astype(np.uint8)


def _averaged(image: Image.Image) -> NDArray[np.float32]:
    """Supersampled image to (height, width, channels), 0 to 255."""
    pixels = np.asarray(image, np.float32)
    height, width, channels = pixels.shape
    blocks = pixels.reshape(height // _SCALE, _SCALE, width // _SCALE, _SCALE, channels)
    averaged: NDArray[np.float32] = blocks.mean((1, 3), dtype=np.float32)
    return averaged


def _light() -> NDArray[np.float32]:
    """Shading of the head, (head height, head width, 1): the lamp stands up and to the left."""
    x = (np.arange(_HEAD_WIDTH, dtype=np.float32)[None, :] - _MIDDLE[0]) / 60
    y = (np.arange(_HEAD_HEIGHT, dtype=np.float32)[:, None] - _MIDDLE[1]) / 80
    dark = np.clip((x + 0.25) ** 2 + 0.6 * (y + 0.2) ** 2, 0, 2.2)
    return (1 - 0.14 * dark)[:, :, None].astype(np.float32)
