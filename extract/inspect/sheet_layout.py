"""Layout of the contact sheet: a block per speaker, in it a cell per utterance with picture, face and caption."""

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
from ...shared.files.overwrite import check_overwrite

# Pixels.
MAX_WIDTH = 1840
MIN_WIDTH = 760
EDGE = 32
GAP = 24
MAX_PICTURE = (248, 210)
"""Width and height."""

FACE_SIDE = 160
FACE_GAP = 8
NAME_SIZE = 16
TEXT_SIZE = 13
TITLE_SIZE = 22
LINE = 20
HEADER = 35
CAPTION = 2 * LINE + 6

Colour = tuple[int, int, int]

# Colours.
PAPER = (255, 255, 255)
INK = (33, 37, 41)
PALE = (108, 117, 125)
RULE = (206, 212, 218)
EMPTY = (241, 243, 245)
BOX_COLOUR = (255, 193, 7)
OTHER_COLOUR = (255, 255, 255)
CONTOUR = (33, 37, 41)
WARNING = (166, 54, 44)

_SOFTWARE = "foal inspect"
"""The PNG's Software entry, by which older sheets are recognized."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """An utterance on the sheet; `problem` replaces a missing picture, `mark` is drawn onto the picture."""

    name: str
    label: str
    detail: str
    picture: Image.Image | None
    face: Image.Image | None
    problem: str
    mark: str


def check_sheet(path: Path, *, force: bool = False) -> None:
    """Raise UsageError if `path` is no .png, or exists, is no contact sheet, and `force` is not given."""
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path}: expected a name that ends in .png")
    check_overwrite(path, kind="a contact sheet of foal", is_ours=_is_sheet, force=force)


def _is_sheet(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.info.get("Software") == _SOFTWARE
    except OSError:
        return False


def write_sheet(path: Path, sheet: Image.Image) -> None:
    """Write the sheet atomically, as a PNG."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", _SOFTWARE)
    with replaced_atomically(path) as temporary:
        sheet.save(temporary, format="PNG", pnginfo=info)


def thumbnail(
    image: NDArray[np.uint8], box: NDArray[np.float32] | None, others: Sequence[NDArray[np.float32]] = ()
) -> Image.Image:
    """Scale an image to the largest size that fits a cell, and draw the boxes of faces.

    Args:
        image: the image (h, w, 3).
        box: the encoded face, (x0, y0, x1, y1) in fractions of the image, (4,); None for no box.
        others: the other faces, drawn as thin lines.
    """
    height, width = image.shape[:2]
    scale = min(MAX_PICTURE[0] / width, MAX_PICTURE[1] / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(picture)
    # With a dark contour, visible on light and dark backgrounds.
    for other in others:
        _draw_box(pen, other, size, ((1, CONTOUR), (0, OTHER_COLOUR)))
    if box is not None:
        _draw_box(pen, box, size, ((2, CONTOUR), (1, BOX_COLOUR), (0, BOX_COLOUR), (-1, CONTOUR)))
    return picture


def _draw_box(
    pen: ImageDraw.ImageDraw, box: NDArray[np.float32], size: tuple[int, int], lines: Sequence[tuple[int, Colour]]
) -> None:
    """Draw a box, given in fractions, as nested lines: their distance from the box in pixels, and their colours."""
    x0, y0, x1, y1 = (round(float(part) * side) for part, side in zip(box, (*size, *size), strict=True))
    for margin, colour in lines:
        corners = x0 - margin, y0 - margin, x1 + margin, y1 + margin
        if corners[2] >= corners[0] and corners[3] >= corners[1]:
            pen.rectangle(corners, outline=colour)


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """Geometry of the sheet.

    Attributes:
        picture_width: in pixels, of the widest picture.
        picture_height: in pixels, of the tallest picture.
        faces: whether cells have a face next to the picture.
        columns: cells per line of a block.
        blocks: blocks per row of the sheet.
    """

    picture_width: int
    picture_height: int
    faces: bool
    columns: int
    blocks: int

    @property
    def step(self) -> tuple[int, int]:
        """Distance from one cell to the next, to the right and down, in pixels."""
        return self.picture_width + (FACE_GAP + FACE_SIDE) * self.faces + GAP, self.picture_height + CAPTION + GAP

    def block_height(self, cells: int) -> int:
        """Height of a block of so many cells, with its name, in pixels."""
        return HEADER + -(-cells // self.columns) * self.step[1]


def draw(title: str, lines: Sequence[str], groups: Mapping[str, Sequence[Cell]], *, faces: bool) -> Image.Image:
    """Draw the sheet.

    Args:
        title: the title, shortened to one line.
        lines: explanations below it.
        groups: cells by speaker, each group at least one.
        faces: whether cells have a face next to the picture.
    """
    grid = _grid(groups, faces=faces)
    rows = [list(groups.items())[at : at + grid.blocks] for at in range(0, len(groups), grid.blocks)]
    heights = [max(grid.block_height(len(cells)) for _, cells in row) for row in rows]
    width = max(MIN_WIDTH, 2 * EDGE + grid.blocks * grid.columns * grid.step[0] - GAP)
    lines = [part for line in lines for part in _wrapped(line, width - 2 * EDGE)]
    top = EDGE + TITLE_SIZE + 12 + LINE * len(lines) + GAP
    sheet = Image.new("RGB", (width, top + sum(heights) + EDGE - GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((EDGE, EDGE), _shortened(title, width - 2 * EDGE, TITLE_SIZE), INK, _font(TITLE_SIZE))
    for number, line in enumerate(lines):
        pen.text((EDGE, EDGE + TITLE_SIZE + 12 + LINE * number), line, PALE, _font(TEXT_SIZE))
    for row, height in zip(rows, heights, strict=True):
        for number, (name, cells) in enumerate(row):
            _draw_block(sheet, (EDGE + number * grid.columns * grid.step[0], top), name, cells, grid)
        top += height
    return sheet


def _grid(groups: Mapping[str, Sequence[Cell]], *, faces: bool) -> _Grid:
    pictures = [cell.picture for cells in groups.values() for cell in cells if cell.picture is not None]
    # A minimum for captions and for the problem in an empty cell.
    width = max([120 if faces else 240, *(picture.width for picture in pictures)])
    height = max([FACE_SIDE, *(picture.height for picture in pictures)])
    grid = _Grid(picture_width=width, picture_height=height, faces=faces, columns=1, blocks=1)
    max_columns = max(1, (MAX_WIDTH - 2 * EDGE + GAP) // grid.step[0])
    columns = min(max_columns, max(len(cells) for cells in groups.values()))
    return replace(grid, columns=columns, blocks=min(len(groups), max_columns // columns))


def _draw_block(sheet: Image.Image, at: tuple[int, int], name: str, cells: Sequence[Cell], grid: _Grid) -> None:
    """Draw a speaker's block: a rule, the name, the cells."""
    (x, y), (right, down), pen = at, grid.step, ImageDraw.Draw(sheet)
    width = grid.columns * right - GAP
    pen.line((x, y, x + width, y), RULE)
    pen.text((x, y + 6), _shortened(name, width, NAME_SIZE), INK, _font(NAME_SIZE))
    for number, cell in enumerate(cells):
        place = x + number % grid.columns * right, y + HEADER + number // grid.columns * down
        _draw_cell(sheet, cell, place, grid)


def _draw_cell(sheet: Image.Image, cell: Cell, at: tuple[int, int], grid: _Grid) -> None:
    """Draw a picture, its face to the right, and two lines of text below."""
    (x, y), pen, width = at, ImageDraw.Draw(sheet), grid.step[0] - GAP
    if cell.picture is None:
        _draw_empty(pen, (x, y, x + width, y + FACE_SIDE), cell.problem)
    else:
        # The frame separates white pictures from the paper.
        pen.rectangle((x - 1, y - 1, x + cell.picture.width, y + cell.picture.height), outline=RULE)
        sheet.paste(cell.picture, at)
        if cell.mark:
            pen.rectangle((x, y, x + round(_font(TEXT_SIZE).getlength(cell.mark)) + 12, y + LINE + 2), WARNING)
            pen.text((x + 6, y + 3), cell.mark, PAPER, _font(TEXT_SIZE))
        if cell.face is not None:
            # NEAREST: a small face shows the pixels that the encoder gets.
            resampling = Image.Resampling.NEAREST if cell.face.width <= FACE_SIDE else Image.Resampling.LANCZOS
            sheet.paste(cell.face.resize((FACE_SIDE, FACE_SIDE), resampling), (x + cell.picture.width + FACE_GAP, y))
    below = y + grid.picture_height + 5
    label = _shortened(cell.label, width // 2, TEXT_SIZE)
    indent = round(_font(TEXT_SIZE).getlength(label)) + 12
    pen.text((x, below), _shortened(cell.name, width, TEXT_SIZE), INK, _font(TEXT_SIZE))
    pen.text((x, below + LINE), label, INK, _font(TEXT_SIZE))
    pen.text((x + indent, below + LINE), _shortened(cell.detail, width - indent, TEXT_SIZE), PALE, _font(TEXT_SIZE))


def _draw_empty(pen: ImageDraw.ImageDraw, place: tuple[int, int, int, int], text: str) -> None:
    """Draw a grey field with a text."""
    x0, y0, x1, y1 = place
    pen.rectangle((x0, y0, x1 - 1, y1 - 1), EMPTY)
    lines = _wrapped(text, x1 - x0 - 16)[: (y1 - y0) // LINE]
    top = (y0 + y1 - LINE * len(lines)) // 2
    for number, line in enumerate(lines):
        pen.text(((x0 + x1) // 2, top + LINE * number), line, WARNING, _font(TEXT_SIZE), anchor="ma")


def _shortened(text: str, width: int, size: int) -> str:
    """Shorten a line to `width` pixels by dropping characters in its middle: ids differ at their ends."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    kept, cut = len(text), text
    while kept > 2 and _font(size).getlength(cut) > width:
        kept -= 1
        cut = f"{text[: (kept + 1) // 2]}...{text[len(text) - kept // 2 :]}"
    return cut


def _wrapped(text: str, width: int) -> list[str]:
    """Wrap a text into lines of about `width` pixels."""
    return wrap(text, max(8, int(0.95 * width * len(text) / max(1.0, _font(TEXT_SIZE).getlength(text)))))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # From matplotlib: Pillow's own font has no umlauts.
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)
