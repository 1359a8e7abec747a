"""Soft labels: the columns `label_NAME` of a manifest, which hold the share of the class NAME."""

import json
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress

from .files.unicode_names import nfc
from .text import quoted

SHARE_PREFIX = "label_"

Shares = tuple[tuple[str, float], ...]
"""Pairs of class and share: votes or probabilities, not normalized; empty for an utterance without soft label."""


def is_share_column(name: str) -> bool:
    """Whether a column of a manifest holds the share of a class."""
    return name.startswith(SHARE_PREFIX) and name != SHARE_PREFIX


def share_problem(row: Mapping[str, str]) -> str | None:
    """The first cell that is no share, as `column: expected ..., got ...`; None if all are numbers from 0 on."""
    for column, text in row.items():
        if is_share_column(column) and text and _share(text) is None:
            named = quoted(row.get("id") or "")
            return f"{column}: expected a share from 0 on or an empty cell for id {named}, got {quoted(text)}"
    return None


def shares_of(row: Mapping[str, str]) -> Shares:
    """The shares of a checked row; empty cells are left out."""
    return tuple(
        (nfc(column.removeprefix(SHARE_PREFIX)), float(text))
        for column, text in row.items()
        if is_share_column(column) and text
    )


def share_classes(rows: Iterable[Shares]) -> list[str]:
    """The classes that have a share in any of the rows, in the order of their first appearance."""
    return list(dict.fromkeys(name for shares in rows for name, _ in shares))


def shares_to_text(shares: Shares) -> str:
    """The shares as JSON, for feats.h5; empty without any."""
    return json.dumps(dict(shares), ensure_ascii=False) if shares else ""


def shares_from_text(text: str) -> Shares:
    """The reverse of `shares_to_text`. Raises ValueError for anything but numbers from 0 on by class."""
    try:
        stored = json.loads(text) if text else {}
    except RecursionError:
        stored = None
    if not isinstance(stored, dict) or not all(
        type(share) in (int, float) and 0 <= share < math.inf for share in stored.values()
    ):
        raise ValueError(f"shares: expected numbers from 0 on by class, got {text[:80]!r}")
    return tuple((name, float(share)) for name, share in stored.items())


def _share(text: str) -> float | None:
    with suppress(ValueError):
        share = float(text)
        return share if 0 <= share < math.inf else None
    return None
