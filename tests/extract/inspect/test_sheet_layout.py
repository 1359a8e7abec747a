"""Layout of the contact sheet: sizes, text, and replaceable files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foal.extract.inspect.sheet_layout import (
    BOX_COLOUR,
    MAX_PICTURE,
    MAX_WIDTH,
    Cell,
    check_sheet,
    draw,
    thumbnail,
    write_sheet,
)
from foal.shared.errors import UsageError


def cell(name: str, *, has_image: bool = True) -> Cell:
    image = Image.new("RGB", (120, 160), (10, 20, 30)) if has_image else None
    return Cell(name=name, label="neu", detail="", picture=image, face=None, problem="no picture", mark="")


def test_foreign_files_are_replaced_only_with_force(tmp_path: Path) -> None:
    check_sheet(tmp_path / "new.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "text.png").write_text("no picture")
    Image.new("RGB", (8, 8)).save(tmp_path / "holiday.png")
    for name in ("folder.png", "text.png", "holiday.png"):
        with pytest.raises(UsageError, match=f"{name}: exists and is not a contact sheet of foal; .*--force"):
            check_sheet(tmp_path / name)
        check_sheet(tmp_path / name, force=True)
    write_sheet(tmp_path / "new.png", Image.new("RGB", (8, 8)))
    check_sheet(tmp_path / "new.png")
    with pytest.raises(UsageError, match=r"sheet\.gif: expected a name that ends in \.png"):
        check_sheet(tmp_path / "sheet.gif", force=True)


@pytest.mark.parametrize("shape", [(96, 160, 3), (480, 720, 3), (2000, 50, 3), (1, 1, 3)])
def test_thumbnails_fit_their_cell_and_keep_the_aspect_ratio(shape: tuple[int, int, int]) -> None:
    image = thumbnail(np.zeros(shape, np.uint8), None)
    assert image.width == MAX_PICTURE[0] or image.height == MAX_PICTURE[1]
    assert image.width <= MAX_PICTURE[0]
    assert image.height <= MAX_PICTURE[1]
    assert image.width == pytest.approx(image.height * shape[1] / shape[0], abs=1)


def test_the_box_is_drawn_at_its_relative_coordinates() -> None:
    image = np.asarray(thumbnail(np.zeros((105, 124, 3), np.uint8), np.array([0.25, 0.5, 0.75, 1], np.float32)))
    assert image.shape == (210, 248, 3)
    assert tuple(image[105, 124]) == BOX_COLOUR
    assert tuple(image[150, 62]) == BOX_COLOUR
    assert not image[:100].any()


@pytest.mark.parametrize("speakers", [1, 2, 40])
@pytest.mark.parametrize("per_speaker", [1, 3, 30])
def test_a_sheet_is_no_wider_than_the_limit_and_contains_every_cell(speakers: int, per_speaker: int) -> None:
    groups = {f"s{n}": [cell(f"u{n}-{row}") for row in range(per_speaker)] for n in range(speakers)}
    sheet = np.asarray(draw("title", ["a line"], groups, faces=False))
    assert sheet.shape[1] <= MAX_WIDTH
    assert (sheet == (10, 20, 30)).all(-1).sum() == speakers * per_speaker * 120 * 160


def test_long_and_unprintable_names_are_drawn() -> None:
    groups = {"x" * 500: [cell("\x07" + "y" * 500), cell("", has_image=False)]}
    assert draw("t" * 500, ["line " * 200], groups, faces=True).width <= MAX_WIDTH
