"""Foreign values and names in messages: quoted, shortened, and without control characters; texts as JSON."""

import json
import re
import reprlib
from collections.abc import Sequence
from typing import Any

MAX_QUOTED = 120
"""Characters or digits of a value that a message quotes."""

_short = reprlib.Repr()
_short.maxstring = MAX_QUOTED
_short.maxother = MAX_QUOTED
_short.maxlong = MAX_QUOTED

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

_ONE_PER_LINE = json.JSONEncoder(separators=("\n", ":"))


def quoted(value: Any) -> str:
    """The repr of a value of any size and depth, shortened in the middle."""
    try:
        return shortened(_short.repr(value), 2 * MAX_QUOTED)
    except (ValueError, RecursionError):
        # Python does not print integers of more than 4300 digits.
        return f"{type(value).__name__} that is too large to display"


def shortened(text: str, max_length: int = 1000) -> str:
    """The text, shortened in the middle if it is longer than `max_length` characters."""
    half = (max_length - 3) // 2
    return text if len(text) <= max_length else f"{text[:half]}...{text[-half:]}"


def escape_control_characters(text: str) -> str:
    """Escape control characters, except newline and tab, and lone surrogates as Python does.

    Names and notes may come from untrusted files, which could control the terminal with them.
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def duration(seconds: float) -> str:
    """A duration in words: `2 h 5 min` or `3 min 20 s`."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"


def preview_ids(ids: Sequence[str], max_ids: int = 5) -> str:
    """The number of utterances, and the ids of the first few."""
    return f"{counted(len(ids), 'utterance')} ({', '.join(ids[:max_ids])}{', ...' if len(ids) > max_ids else ''})"


def counted(number: int, noun: str) -> str:
    """A number and its noun, in the plural unless the number is 1."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def json_of_each(values: Sequence[str | float | None]) -> list[str]:
    """The JSON of each text or number, made by one call: JSON texts have no line breaks."""
    return _ONE_PER_LINE.encode(list(values))[1:-1].split("\n") if values else []
