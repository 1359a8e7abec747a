"""The content of a page before it is HTML: sections with text, tables, charts and clips."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

_NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table: its text or chart, and what it is sorted by (a number, else its text)."""

    text: str = ""
    chart: Markup | None = None
    key: str = ""
    strong: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose columns can be sorted; `numeric` has the numbers of right-aligned columns."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numeric: frozenset[int]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A chart with its caption, and a legend of pairs of class and name."""

    chart: Markup
    caption: str
    legend: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A mistake: what was predicted, and the media as far as they are at hand.

    Attributes:
        name: id of the utterance.
        truth: its label.
        predicted: the predicted class.
        confidence: probability of that class, in percent, as text.
        shares: class, probability, and its percent as text.
        details: speaker, session, duration.
        transcript: its words.
        image: data URI of the face or the frame.
        wave: the waveform.
        sound: data URI or relative URL of the sound.
        note: why there is no sound or picture.
    """

    name: str
    truth: str
    predicted: str
    confidence: str
    shares: Sequence[tuple[str, Markup, str]]
    details: Sequence[str] = ()
    transcript: str = ""
    image: str = ""
    wave: Markup | None = None
    sound: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page with a heading."""

    key: str
    title: str
    text: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    clips: Sequence[Clip] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    commands: Sequence[str] = ()
    listing: str = ""


@dataclass(frozen=True, kw_only=True)
class Score:
    """A number of the headline: name, value as text, and the lines below."""

    name: str
    value: str
    below: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Page:
    """A report."""

    title: str
    subtitle: str
    scores: Sequence[Score]
    lines: Sequence[str]
    warnings: Sequence[str]
    sections: Sequence[Section]


def sort_key(text: str) -> str:
    """The first number of a cell, below which "<0.001" is sorted; empty without one."""
    found = _NUMBER.search(text)
    if found is None:
        return ""
    number = float(found.group().replace(",", ""))
    return f"{number / 2 if text.startswith('<') else number:g}"


def text_table(
    caption: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    names: int = 1,
    strong: frozenset[int] = frozenset(),
) -> Table:
    """A table of texts.

    Args:
        caption: its accessible name.
        head: names of the columns.
        rows: its cells.
        names: number of first columns that are names; the others are numbers.
        strong: positions of rows in bold.
    """
    cells = [
        [
            Cell(text=value, key="" if column < names else sort_key(value), strong=at in strong)
            for column, value in enumerate(row)
        ]
        for at, row in enumerate(rows)
    ]
    return Table(caption=caption, head=head, rows=cells, numeric=frozenset(range(names, len(head))))
