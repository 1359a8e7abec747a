"""The pixels of a contact sheet, and where a picture is on it."""

from pathlib import Path

import numpy as np
from PIL import Image

FULL = (0.0, 0.0, 1.0, 1.0)


def pixels(image: Path | Image.Image) -> np.ndarray:
    if isinstance(image, Path):
        with Image.open(image) as opened:
            return np.asarray(opened.convert("RGB"))
    return np.asarray(image)


def place_of(part: np.ndarray, sheet: np.ndarray) -> tuple[int, int] | None:
    """Where on the sheet a picture stands, pixel by pixel."""
    height, width = part.shape[:2]
    corner = sheet[: len(sheet) - height + 1, : sheet.shape[1] - width + 1]
    for y, x in np.argwhere((corner == part[0, 0]).all(-1)):
        if np.array_equal(sheet[y : y + height, x : x + width], part):
            return int(y), int(x)
    return None
