"""The utterance, and the manifest that lists them: read, validate, write."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from urllib.parse import quote

from .errors import UsageError
from .text import quoted, shortened

Box = tuple[float, float, float, float]
"""A part of the picture as fractions of its width and height: x0, y0, x1, y1."""


_NAMED_CROPS: dict[str, Box] = {
    "full": (0.0, 0.0, 1.0, 1.0),
    "left": (0.0, 0.0, 0.5, 1.0),
    "right": (0.5, 0.0, 1.0, 1.0),
}


def as_number(text: str) -> float:
    """A number as everybody writes it: Python alone reads 1_000 and the digits of other scripts. Raises ValueError."""
    if not text.isascii() or "_" in text:
        raise ValueError(text)
    return float(text)


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


REQUIRED = ("id", "corpus", "session", "speaker", "gender", "label", "audio", "video", "start", "end", "crop")
OPTIONAL = ("fold", "transcript", "valence", "arousal", "dominance")
COLUMNS = REQUIRED + OPTIONAL
NUMBERS = ("start", "end", "valence", "arousal", "dominance")

ALL = "all"
LONGEST_FOLDER = 200
MOST_BYTES = 1 << 30
LONGEST_LINE = 1 << 20
LONGEST_NAME = 4096
"""Of a manifest: so many bytes, and characters in a line and in a cell; no corpus has more, and what is hostile may.

A transcript may be as long as csv lets a cell be (131,072).
"""

MOST_PROBLEMS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Utterance:
    """One stretch of speech by one person, with its label.

    `audio` and `video` are paths relative to the corpus root, either may be empty; `start` and `end` are seconds of
    the media, None meaning from the beginning and to the end; the other numbers are the corpus' own ratings.
    """

    id: str
    corpus: str = ""
    session: str = ""
    speaker: str = ""
    gender: str = ""
    label: str = ""
    audio: str = ""
    video: str = ""
    start: float | None = None
    end: float | None = None
    crop: str = "full"
    fold: str = ""
    transcript: str = ""
    valence: float | None = None
    arousal: float | None = None
    dominance: float | None = None

    @property
    def split(self) -> str:
        """What `--split` selects and the folder of its shards is called: the session, else the corpus."""
        return self.session or self.corpus

    @property
    def box(self) -> Box:
        """The person's part of the picture, as fractions."""
        return parse_crop(self.crop)

    def source(self, modality: str) -> str:
        """Which stretch of which file (and which part of the picture) a modality's features come from.

        The part of the manifest's row that changes the numbers, and no other: a label may be mended without extracting.
        """
        crop = self.crop if modality == "face" else ""
        return json.dumps([self.media(modality), self.start, self.end, crop])

    def media(self, modality: str) -> str:
        """The file that a modality is taken from, relative to the corpus root; empty if there is none."""
        return self.video if modality == "face" else self.audio

    @property
    def seconds(self) -> float | None:
        """Length in seconds, or None where only the media file knows its end."""
        return None if self.end is None else self.end - (self.start or 0.0)


assert tuple(field.name for field in fields(Utterance)) == COLUMNS


def splits_of(utterances: Iterable[Utterance]) -> dict[str, list[Utterance]]:
    """Utterances by split, splits in the order of the manifest."""
    by_split: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        by_split.setdefault(utterance.split, []).append(utterance)
    return by_split


def select_splits(utterances: Sequence[Utterance], wanted: Sequence[str]) -> list[Utterance]:
    """The utterances of the wanted splits (`all` = every one); raises UsageError that lists the known ones."""
    by_split = splits_of(utterances)
    unknown = [name for name in wanted if name not in by_split and name != ALL]
    if unknown or not wanted:
        what = f"unknown split {', '.join(map(quoted, unknown[:20]))}" if unknown else "no split was given"
        raise UsageError(f"{what}; the manifest has {shortened(', '.join(by_split))} (or '{ALL}')")
    names = list(by_split) if ALL in wanted else list(dict.fromkeys(wanted))
    return [utterance for name in names for utterance in by_split[name]]


def split_folder(split: str) -> str:
    """The split's name as a folder: the same, with what a folder's name may not hold percent-encoded."""
    return quote(split, safe=" ")
