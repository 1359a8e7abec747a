"""What came, quoted in a message: never more of it than a line."""

import reprlib
from typing import Any

MOST = 120

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = MOST


def quoted(value: Any) -> str:
    """Its repr, cut in the middle; of whatever size, depth and circle the value is."""
    try:
        return shortened(_short.repr(value), 2 * MOST)
    except (ValueError, RecursionError):
        # Python writes no integer of more than 4300 digits.
        return f"{type(value).__name__} that is too large to be shown"


def shortened(text: str, most: int = 1000) -> str:
    """A text, cut in the middle."""
    half = (most - 3) // 2
    return text if len(text) <= most else f"{text[:half]}...{text[-half:]}"
