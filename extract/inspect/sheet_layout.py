"""The contact sheet as a picture: blocks of cells by speaker, each with a picture, a face and what they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from textwrap import wrap

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from ...shared.errors import UsageError
from ...shared.files.atomic import replaced_atomically

WIDTH, EDGE, GAP = 1840, 32, 24
PICTURE = (248, 210)
"""Most width and height of a picture on the sheet."""

FACE = 160
NAME, TEXT, TITLE = 16, 13, 22
LINE, HEADER, BESIDE = 20, 35, 8
CAPTION, NARROWEST = 2 * LINE + 6, 760

PAPER, INK, PALE, RULE, EMPTY = (255, 255, 255), (33, 37, 41), (108, 117, 125), (206, 212, 218), (241, 243, 245)
BOX, CONTOUR, WARNING = (255, 193, 7), (33, 37, 41), (166, 54, 44)

_SOFTWARE = "foal inspect"
_SIGN = b"tEXtSoftware\0" + _SOFTWARE.encode()
"""Stands near the beginning of every sheet."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """An utterance on the sheet; `problem` stands in the place of a picture, `mark` on it."""

    name: str
    label: str
    detail: str
    picture: Image.Image | None
    face: Image.Image | None
    problem: str
    mark: str


def check_sheet(path: Path, *, force: bool = False) -> None:
    """Raise UsageError unless the sheet can be written there: a .png in whose place is nothing, or an older sheet."""
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path}: expected a name that ends in .png")
    try:
        with path.open("rb") as file:
            ours = _SIGN in file.read(256)
    except OSError:
        ours = not path.exists()
    if not ours and not force:
        raise UsageError(f"{path}: expected a contact sheet of foal to replace, or nothing, got something else")


def write_sheet(path: Path, sheet: Image.Image) -> None:
    """Write it, whole or not at all, as a PNG that says where it is from."""
    about = PngImagePlugin.PngInfo()
    about.add_text("Software", _SOFTWARE)
    with replaced_atomically(path) as temporary:
        sheet.save(temporary, format="PNG", pnginfo=about)


def fitted(picture: NDArray[np.uint8], box: NDArray[np.float32] | None) -> Image.Image:
    """A picture (h, w, 3) as large as fits the sheet, with its box (fractions) drawn in."""
    height, width = picture.shape[:2]
    scale = min(PICTURE[0] / width, PICTURE[1] / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)
    if box is not None:
        x0, y0, x1, y1 = (round(float(part) * side) for part, side in zip(box, (*size, *size), strict=True))
        pen = ImageDraw.Draw(image)
        # A dark contour: seen on a white wall as well as on a dark jacket.
        for grown, colour in ((2, CONTOUR), (1, BOX), (0, BOX), (-1, CONTOUR)):
            corners = x0 - grown, y0 - grown, x1 + grown, y1 + grown
            if corners[2] >= corners[0] and corners[3] >= corners[1]:
                pen.rectangle(corners, outline=colour)
    return image


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """Measures in pixels: pictures fill `wide` x `tall`, `across` cells make a line of a block, `blocks` a row."""

    wide: int
    tall: int
    faces: bool
    across: int
    blocks: int

    @property
    def step(self) -> tuple[int, int]:
        """From one cell to the next, to the right and downwards."""
        return self.wide + (BESIDE + FACE) * self.faces + GAP, self.tall + CAPTION + GAP

    def block_height(self, cells: int) -> int:
        """Of a block with so many cells, with its name."""
        return HEADER + -(-cells // self.across) * self.step[1]


def draw(title: str, lines: Sequence[str], groups: Mapping[str, Sequence[Cell]], *, faces: bool) -> Image.Image:
    """The sheet: a title, lines of explanation, and the cells of each group side by side; `faces`: with a face each."""
    grid = _grid(groups, faces=faces)
    rows = [list(groups.items())[at : at + grid.blocks] for at in range(0, len(groups), grid.blocks)]
    heights = [max(grid.block_height(len(cells)) for _, cells in row) for row in rows]
    width = max(NARROWEST, 2 * EDGE + grid.blocks * grid.across * grid.step[0] - GAP)
    lines = [part for line in lines for part in _wrapped(line, width - 2 * EDGE)]
    top = EDGE + TITLE + 12 + LINE * len(lines) + GAP
    sheet = Image.new("RGB", (width, top + sum(heights) + EDGE - GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((EDGE, EDGE), _shortened(title, width - 2 * EDGE, TITLE), INK, _font(TITLE))
    for number, line in enumerate(lines):
        pen.text((EDGE, EDGE + TITLE + 12 + LINE * number), line, PALE, _font(TEXT))
    for row, height in zip(rows, heights, strict=True):
        for number, (name, cells) in enumerate(row):
            _draw_block(sheet, (EDGE + number * grid.across * grid.step[0], top), name, cells, grid)
        top += height
    return sheet


def _grid(groups: Mapping[str, Sequence[Cell]], *, faces: bool) -> _Grid:
    pictures = [cell.picture for cells in groups.values() for cell in cells if cell.picture is not None]
    # Captions and what stands in an empty field want some room.
    wide = max([120 if faces else 240, *(picture.width for picture in pictures)])
    tall = max([FACE, *(picture.height for picture in pictures)])
    grid = _Grid(wide=wide, tall=tall, faces=faces, across=1, blocks=1)
    most = max(1, (WIDTH - 2 * EDGE + GAP) // grid.step[0])
    across = min(most, max(len(cells) for cells in groups.values()))
    return replace(grid, across=across, blocks=min(len(groups), most // across))


def _draw_block(sheet: Image.Image, at: tuple[int, int], name: str, cells: Sequence[Cell], grid: _Grid) -> None:
    """A group: a line, its name, its cells."""
    (x, y), (right, down), pen = at, grid.step, ImageDraw.Draw(sheet)
    width = grid.across * right - GAP
    pen.line((x, y, x + width, y), RULE)
    pen.text((x, y + 6), _shortened(name, width, NAME), INK, _font(NAME))
    for number, cell in enumerate(cells):
        place = x + number % grid.across * right, y + HEADER + number // grid.across * down
        _draw_cell(sheet, cell, place, grid)


def _draw_cell(sheet: Image.Image, cell: Cell, at: tuple[int, int], grid: _Grid) -> None:
    """A picture with its face right beside it, and two lines below."""
    (x, y), pen, width = at, ImageDraw.Draw(sheet), grid.step[0] - GAP
    if cell.picture is None:
        _draw_empty(pen, (x, y, x + width, y + FACE), cell.problem)
    else:
        # Some pictures are as white as the paper.
        pen.rectangle((x - 1, y - 1, x + cell.picture.width, y + cell.picture.height), outline=RULE)
        sheet.paste(cell.picture, at)
        if cell.mark:
            pen.rectangle((x, y, x + round(_font(TEXT).getlength(cell.mark)) + 12, y + LINE + 2), WARNING)
            pen.text((x + 6, y + 3), cell.mark, PAPER, _font(TEXT))
        if cell.face is not None:
            # Enlarged, a small face shows its pixels.
            way = Image.Resampling.NEAREST if cell.face.width <= FACE else Image.Resampling.LANCZOS
            sheet.paste(cell.face.resize((FACE, FACE), way), (x + cell.picture.width + BESIDE, y))
    below = y + grid.tall + 5
    label = _shortened(cell.label, width // 2, TEXT)
    indent = round(_font(TEXT).getlength(label)) + 12
    pen.text((x, below), _shortened(cell.name, width, TEXT), INK, _font(TEXT))
    pen.text((x, below + LINE), label, INK, _font(TEXT))
    pen.text((x + indent, below + LINE), _shortened(cell.detail, width - indent, TEXT), PALE, _font(TEXT))


def _draw_empty(pen: ImageDraw.ImageDraw, place: tuple[int, int, int, int], text: str) -> None:
    """A grey field with some words in it."""
    x0, y0, x1, y1 = place
    pen.rectangle((x0, y0, x1 - 1, y1 - 1), EMPTY)
    lines = _wrapped(text, x1 - x0 - 16)[: (y1 - y0) // LINE]
    top = (y0 + y1 - LINE * len(lines)) // 2
    for number, line in enumerate(lines):
        pen.text(((x0 + x1) // 2, top + LINE * number), line, WARNING, _font(TEXT), anchor="ma")


def _shortened(text: str, width: int, size: int) -> str:
    """A line no wider than that, letters left out of its middle: what tells ids apart is at their ends."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    kept, cut = len(text), text
    while kept > 2 and _font(size).getlength(cut) > width:
        kept -= 1
        cut = f"{text[: (kept + 1) // 2]}...{text[len(text) - kept // 2 :]}"
    return cut


def _wrapped(text: str, width: int) -> list[str]:
    """Lines about as wide as that."""
    return wrap(text, max(8, int(0.95 * width * len(text) / max(1.0, _font(TEXT).getlength(text)))))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # Of matplotlib, since Pillow's own font has no umlauts.
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)
