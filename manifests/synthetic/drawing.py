"""The parts of a drawn face: hair, head, eyes with their brows, mouth, shoulders."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from .cast import RGB, FaceDesign
from .pose import Pose

EYE_LINE, BROW_LINE, NOSE_LINE, MOUTH_LINE = -0.10, -0.335, 0.20, 0.52  # heights in the face, see FaceCanvas

WHITE: RGB = (240, 238, 234)
INK: RGB = (44, 32, 32)
THROAT: RGB = (86, 30, 36)


@dataclass(frozen=True, slots=True)
class FaceCanvas:
    """An image in face units: (0, 0) is the middle of the face oval, 1 is half its height, y points down."""

    image: Image.Image
    origin: tuple[float, float]  # (x, y) in the image's own pixels
    unit: float  # pixels

    def polygon(self, points: ArrayLike, fill: RGB) -> None:
        """Fill the polygon with these corners, (n, 2) in face units."""
        ImageDraw.Draw(self.image).polygon(self._pixels(points), fill=fill)

    def line(self, points: ArrayLike, width: float, fill: RGB) -> None:
        """Draw a line through points (n, 2), all in face units, with round ends."""
        pixels = self._pixels(points)
        pen = ImageDraw.Draw(self.image)
        pen.line(pixels, fill=fill, width=max(1, round(width * self.unit)), joint="curve")
        radius = width * self.unit / 2
        for x, y in (pixels[0], pixels[-1]):
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)

    def ellipse(self, x: float, y: float, half_width: float, half_height: float, fill: RGB) -> None:
        """Fill an upright ellipse around (x, y)."""
        (left, top), (right, bottom) = self._pixels(
            [(x - half_width, y - half_height), (x + half_width, y + half_height)]
        )
        ImageDraw.Draw(self.image).ellipse((left, top, right, bottom), fill=fill)

    def _pixels(self, points: ArrayLike) -> list[tuple[float, float]]:
        scaled = np.asarray(points, np.float64) * self.unit + self.origin
        return [(float(x), float(y)) for x, y in scaled]


def mix(first: RGB, second: RGB, share: float) -> RGB:
    """The colour that is `share` of the way from the first to the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _shade(colour: RGB, amount: float) -> RGB:
    return mix(colour, (40, 18, 14), amount)


def _curve(x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """Points (n, 2) of a curve given by its coordinates; either may be one number."""
    across, down = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    return np.stack([across, down], axis=-1)


def _oval(face: FaceDesign, grow: float = 1.0) -> NDArray[np.float64]:
    """Outline (n, 2) of the face, clockwise from its top: an egg whose narrow end is the chin."""
    turn = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    down = -np.cos(turn)
    jaw = 1 - 0.09 * np.clip(down, 0, 1) ** 1.5
    return _curve(face.width * grow * np.sin(turn) * jaw, grow * down)


def shoulders(canvas: FaceCanvas, face: FaceDesign) -> None:
    """Torso with a collar, and the foot of the neck: the parts that do not move with the head."""
    canvas.ellipse(0, 3.05, 1.85, 1.62, fill=face.clothes)
    canvas.ellipse(0, 1.50, 0.56, 0.24, fill=_shade(face.clothes, 0.35))
    foot = [(-0.40, 0.5), (0.40, 0.5), (0.46, 1.42), (0, 1.72), (-0.46, 1.42)]
    canvas.polygon(foot, fill=_shade(face.skin, 0.24))


def back_hair(canvas: FaceCanvas, face: FaceDesign) -> None:
    """The hair behind the head."""
    if face.style == "long":
        turn = np.linspace(0, 2 * np.pi, 90)
        across, down = np.cos(turn), np.sin(turn)  # a rounded box: the superellipse of exponent 3
        box = _curve(0.96 * np.sign(across) * np.abs(across) ** (2 / 3), np.sign(down) * np.abs(down) ** (2 / 3))
        canvas.polygon(box * (1.0, 1.27) + (0.0, 0.16), fill=face.hair)
    elif face.style == "bob":
        canvas.polygon(_oval(face, 1.17) * (1.06, 0.94), fill=face.hair)
        canvas.ellipse(0, 0.28, face.width * 1.30, 0.66, fill=face.hair)
    elif face.style == "bun":
        canvas.ellipse(0, -1.22, 0.36, 0.28, fill=_shade(face.hair, 0.2))
    elif face.style in ("curly", "curls"):
        lowest = -0.12 if face.style == "curly" else 0.62
        for angle in np.linspace(-2.25, 2.25, 15):
            down = -np.cos(angle) * 0.98
            if down < lowest:
                canvas.ellipse(np.sin(angle) * face.width * 1.14, down, 0.22, 0.22, fill=face.hair)


def head(canvas: FaceCanvas, face: FaceDesign) -> None:
    """Neck, ears, face and nose; eyes and mouth are drawn onto them later."""
    canvas.polygon([(-0.41, 0.5), (0.41, 0.5), (0.44, 1.40), (0, 1.70), (-0.44, 1.40)], fill=_shade(face.skin, 0.16))
    canvas.polygon([(-0.41, 0.8), (0.41, 0.8), (0.32, 1.12), (0, 1.22), (-0.32, 1.12)], fill=_shade(face.skin, 0.3))
    for side in (-1, 1):
        canvas.ellipse(side * face.width * 0.99, 0.02, 0.10, 0.19, fill=_shade(face.skin, 0.08))
        canvas.ellipse(side * face.width * 1.0, 0.03, 0.05, 0.11, fill=_shade(face.skin, 0.26))
    canvas.polygon(_oval(face), fill=face.skin)
    for side in (-1, 1):  # sockets, so that the eyes look a little deeper
        canvas.ellipse(side * face.eye_gap, EYE_LINE - 0.02, 0.22, 0.15, fill=_shade(face.skin, 0.09))
    side_of_nose = [(0.02, -0.12), (0.09, 0.08), (face.nose, NOSE_LINE), (0.02, NOSE_LINE + 0.06)]
    canvas.polygon(side_of_nose, fill=_shade(face.skin, 0.13))
    canvas.line([(-0.015, -0.08), (-0.02, 0.12)], 0.045, fill=mix(face.skin, WHITE, 0.25))
    bend = np.linspace(-1, 1, 25)
    canvas.line(_curve(bend * face.nose, NOSE_LINE + 0.055 - 0.07 * bend**2), 0.03, fill=_shade(face.skin, 0.3))
    for side in (-1, 1):
        canvas.ellipse(side * face.nose * 0.5, NOSE_LINE + 0.035, 0.034, 0.018, fill=_shade(face.skin, 0.5))


def front_hair(canvas: FaceCanvas, face: FaceDesign) -> None:
    """The hair over the forehead; it leaves the brows free, because they show emotion."""
    across = np.linspace(-1, 1, 41)
    if face.style in ("side", "bob"):
        line = -0.70 + 0.16 * across + 0.52 * across**4  # parted on one side
    elif face.style == "long":
        line = -0.86 + 0.62 * np.abs(across) ** 1.6  # parted in the middle
    else:
        line = -0.64 + 0.40 * across**4
    crown = _oval(face, 1.08)
    crown = crown[np.argsort(np.arctan2(crown[:, 0], -crown[:, 1]))]  # from the chin over the left, top and right
    crown = crown[crown[:, 1] < -0.22]
    canvas.polygon(np.concatenate([crown, _curve(across * face.width * 1.02, line)[::-1]]), fill=face.hair)
    strand = np.linspace(0, 1, 12)
    for start in np.linspace(-0.5, 0.5, 7):  # a few strands
        path = _curve(start * face.width * (1 + 0.5 * strand), -1.02 + 0.3 * start**2 + 0.2 * strand)
        canvas.line(path, 0.02, fill=mix(face.hair, WHITE, 0.16))


def eyes(canvas: FaceCanvas, face: FaceDesign, pose: Pose, *, shut: bool) -> None:
    """Eyes, brows and the folds around them."""
    along = np.linspace(-1, 1, 31)
    bow = 1 - along**2
    for side in (-1, 1):
        x = side * face.eye_gap
        width = face.eye_size
        rise = 0.092 * (1 + pose.upper_lid + pose.lid_tilt * along * side)
        upper = _curve(x + along * width, EYE_LINE + 0.02 - rise * bow**0.7)
        lower = _curve(x + along * width, EYE_LINE + 0.02 + 0.062 * (1 - 0.8 * pose.lower_lid) * bow)
        if shut:
            canvas.polygon(np.concatenate([upper, lower[::-1]]), fill=_shade(face.skin, 0.12))
            canvas.line(lower, 0.035, fill=INK)
        else:
            _open_eye(canvas, face, x, np.concatenate([upper, lower[::-1]]), pose.gaze)
            canvas.line(upper, 0.035, fill=INK)
            canvas.line(lower, 0.014, fill=_shade(face.skin, 0.45))
        _brow(canvas, face, side, pose)
        _folds(canvas, face, side, pose)
        if face.glasses:
            rim = np.linspace(0, 2 * np.pi, 40)
            glass = _curve(side * face.eye_gap + 0.235 * np.cos(rim), EYE_LINE + 0.02 + 0.175 * np.sin(rim))
            canvas.line(glass, 0.022, fill=(70, 66, 64))
            canvas.line([(side * 0.11, EYE_LINE), (0, EYE_LINE - 0.03)], 0.022, fill=(70, 66, 64))


def _brow(canvas: FaceCanvas, face: FaceDesign, side: int, pose: Pose) -> None:
    turn = np.linspace(0, 1, 25)  # from the inner to the outer end
    inner = side * (face.eye_gap - 1.25 * face.eye_size - pose.together)
    outer = side * (face.eye_gap + 1.45 * face.eye_size)
    lift = pose.inner_brow * (1 - turn) + (pose.outer_brow - 0.03) * turn + (0.05 + pose.arch) * 4 * turn * (1 - turn)
    canvas.line(_curve(inner + (outer - inner) * turn, BROW_LINE - lift), face.brow, fill=_shade(face.hair, 0.25))


def _folds(canvas: FaceCanvas, face: FaceDesign, side: int, pose: Pose) -> None:
    """The fold beside the root of the nose when frowning; the edge of the cheek and lines at the eye when smiling."""
    if pose.frown > 0.1:
        fold = [(side * 0.05, BROW_LINE + 0.01), (side * 0.04, BROW_LINE + 0.15)]
        canvas.line(fold, 0.024, fill=_shade(face.skin, 0.34 * pose.frown))
    if pose.cheek > 0.1:
        along = np.linspace(-1, 1, 21)
        colour = _shade(face.skin, 0.15 * pose.cheek)
        cheek = _curve(side * (face.eye_gap + 0.02) + along * 0.17, 0.09 - 0.05 * (1 - along**2))
        canvas.line(cheek, 0.022, fill=colour)
        corner = face.eye_gap + 1.12 * face.eye_size
        for down in (-0.05, 0.04):
            line = [(side * corner, EYE_LINE + 0.02 + 0.4 * down), (side * (corner + 0.07), EYE_LINE + 0.02 + down)]
            canvas.line(line, 0.016, fill=colour)


def _open_eye(canvas: FaceCanvas, face: FaceDesign, x: float, outline: NDArray[np.float64], gaze: float) -> None:
    """White, iris, pupil and a highlight, clipped by the lids."""
    ball = FaceCanvas(canvas.image.copy(), canvas.origin, canvas.unit)
    radius = face.eye_size * 0.56
    middle = EYE_LINE + 0.005 + gaze
    ball.polygon(outline, fill=WHITE)
    ball.ellipse(x, middle, radius, radius, fill=_shade(face.iris, 0.35))
    ball.ellipse(x, middle, radius * 0.84, radius * 0.84, fill=face.iris)
    ball.ellipse(x, middle, radius * 0.45, radius * 0.45, fill=(18, 14, 16))
    ball.ellipse(x - radius * 0.3, middle - radius * 0.35, radius * 0.2, radius * 0.2, fill=WHITE)
    lids = Image.new("L", canvas.image.size)
    points = [(float(a), float(b)) for a, b in outline * canvas.unit + canvas.origin]
    ImageDraw.Draw(lids).polygon(points, fill=255)
    canvas.image.paste(ball.image, (0, 0), lids)


def mouth(canvas: FaceCanvas, face: FaceDesign, pose: Pose, opening: float) -> None:
    """Mouth and cheek folds; `opening` is from 0 (shut) to 1."""
    along = np.linspace(-1, 1, 41)
    bow = 1 - along**2
    x = along * face.mouth * (1 + pose.stretch)
    middle = MOUTH_LINE + 0.17 * pose.corners * (bow - 0.55)  # the line between closed lips
    gap = opening * (1 + pose.opening) * bow ** (1 - 0.6 * pose.square)
    upper = middle - (0.05 + 0.03 * pose.square) * gap
    lower = middle + 0.24 * gap
    fold = np.linspace(0, 1, 15)
    for side in (-1, 1):
        corner = side * face.mouth * (1.3 + 0.2 * pose.corners)
        path = _curve(
            side * (face.nose + 0.06) + (corner - side * (face.nose + 0.06)) * fold**0.8,
            NOSE_LINE + 0.06 + (0.27 - 0.10 * pose.corners) * fold**1.4,
        )
        canvas.line(path, 0.02, fill=_shade(face.skin, 0.06 + 0.16 * abs(pose.corners)))
    lips = 1 - pose.pressed
    top_lip, low_lip = 0.055 * lips * bow**0.6, 0.075 * lips * bow**0.6
    canvas.polygon(np.concatenate([_curve(x, upper - top_lip), _curve(x, lower + low_lip)[::-1]]), fill=face.lips)
    if opening > 0:
        canvas.polygon(np.concatenate([_curve(x, upper), _curve(x, lower)[::-1]])[2:-2], fill=THROAT)
        edge = np.minimum(upper + (0.075 + 0.03 * pose.square) * opening, lower)  # of the upper teeth
        canvas.polygon(np.concatenate([_curve(x, upper)[5:-5], _curve(x, edge)[5:-5][::-1]]), fill=WHITE)
    else:
        canvas.line(_curve(x, middle), 0.028, fill=_shade(face.lips, 0.55))
    canvas.line(_curve(x, lower + low_lip + 0.05)[13:-13], 0.02, fill=_shade(face.skin, 0.14))
