"""The person's part of the picture, as a manifest writes it."""

from .text import quoted

Box = tuple[float, float, float, float]
"""A part of the picture as fractions of its width and height: x0, y0, x1, y1."""

_NAMED_CROPS: dict[str, Box] = {
    "full": (0.0, 0.0, 1.0, 1.0),
    "left": (0.0, 0.0, 0.5, 1.0),
    "right": (0.5, 0.0, 1.0, 1.0),
}


def parse_crop(text: str) -> Box:
    """`full`, `left`, `right` or `x0,y0,x1,y1` as fractions; raises ValueError with what was expected."""
    if text in _NAMED_CROPS:
        return _NAMED_CROPS[text]
    wanted = (
        f"'full', 'left', 'right' or 'x0,y0,x1,y1' with 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1, got {quoted(text)}"
    )
    try:
        x0, y0, x1, y1 = (as_number(part) for part in text.split(",", 4))
    except ValueError:
        raise ValueError(wanted) from None
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise ValueError(wanted)
    return x0, y0, x1, y1


def as_number(text: str) -> float:
    """A number as everybody writes it: Python alone reads 1_000 and the digits of other scripts. Raises ValueError."""
    if not text.isascii() or "_" in text:
        raise ValueError(text)
    return float(text)
