"""What came, quoted in a message: never more of it than a line."""

import re
import reprlib
from collections.abc import Sequence
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


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def escape_control_characters(text: str) -> str:
    """The text with control characters, except newline and tab, and halves of characters as Python writes them.

    Names and notes may come from a stranger's file, who could steer the terminal with them.
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def duration(seconds: float) -> str:
    """A length of time as people say it: `2 h 5 min` or `3 min 20 s`."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"


def preview_ids(names: Sequence[str], most: int = 5) -> str:
    """How many utterances there are, and the first few of them by name."""
    return f"{len(names)} utterances ({', '.join(names[:most])}{', ...' if len(names) > most else ''})"
