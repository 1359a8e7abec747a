"""The pixels of a contact sheet, and the position of an image on it."""

from pathlib import Path

import numpy as np
from PIL import Image

FULL = (0.0, 0.0, 1.0, 1.0)


def pixels(image: Path | Image.Image) -> np.ndarray:
    if isinstance(image, Path):
        with Image.open(image) as opened:
            return np.asarray(opened.convert("RGB"))
    return np.asarray(image)


def find_image(image: np.ndarray, sheet: np.ndarray) -> tuple[int, int] | None:
    """The row and column of an image on the sheet, compared pixel by pixel."""
    height, width = image.shape[:2]
    corner = sheet[: len(sheet) - height + 1, : sheet.shape[1] - width + 1]
    for y, x in np.argwhere((corner == image[0, 0]).all(-1)):
        if np.array_equal(sheet[y : y + height, x : x + width], image):
            return int(y), int(x)
    return None
