"""The utterance: one row of a manifest."""

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from itertools import pairwise, repeat
from typing import Any
from urllib.parse import quote

import xxhash

from .errors import UsageError
from .files.unicode_names import nfc
from .soft_labels import Shares
from .text import quoted, shortened

Box = tuple[float, float, float, float]
"""A region of the frame as fractions of its width and height: x0, y0, x1, y1."""

_NAMED_CROPS: dict[str, Box] = {
    "full": (0.0, 0.0, 1.0, 1.0),
    "left": (0.0, 0.0, 0.5, 1.0),
    "right": (0.5, 0.0, 1.0, 1.0),
}


def parse_crop(text: str) -> Box:
    """Parse `full`, `left`, `right` or `x0,y0,x1,y1` (fractions). Raises ValueError that names the valid forms."""
    if text in _NAMED_CROPS:
        return _NAMED_CROPS[text]
    expected = (
        f"'full', 'left', 'right' or 'x0,y0,x1,y1' with 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1, got {quoted(text)}"
    )
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(",", 4))
    except ValueError:
        raise ValueError(expected) from None
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise ValueError(expected)
    return x0, y0, x1, y1


REQUIRED = ("id", "corpus", "session", "speaker", "gender", "label")
MEDIA = ("audio", "video", "start", "end", "crop")
"""Columns that locate the utterance in its media; imported features need none of them."""

DIALOG = ("dialog", "turn", "scene")
"""Columns that manifests and indices of earlier versions lack. Empty ones are not written."""

INTEGERS = ("turn",)
RATINGS = ("valence", "arousal", "dominance")
NUMBERS = ("start", "end", *RATINGS, *INTEGERS)
OPTIONAL = ("fold", "transcript", *RATINGS, *DIALOG)
COLUMNS = REQUIRED + MEDIA + OPTIONAL

DISTINCT = frozenset({"id", "transcript"})
"""Columns of which nearly every cell is different. Equal cells of the others are one object in memory."""

ALL = "all"
MAX_FOLDER_LENGTH = 200
"""Maximum bytes of a folder name; file systems allow 255."""

TEXT = "text"
"""The modality that is computed from the transcript, and first item of its sources."""

ANY_TEXT = json.dumps([TEXT, ""])
"""The source of imported text features: which transcript they were computed from is unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Utterance:
    """A segment of speech of one person, with its label.

    `audio` and `video` are paths relative to the corpus root; either may be empty, and both if the features are
    imported. `start` and `end` are seconds of the media; None means from the beginning and to the end. `valence`,
    `arousal` and `dominance` are the ratings of the corpus. `dialog` names a conversation, `turn` is the place in it,
    counted from 0 over all its turns, and `scene` is the script or scenario that several dialogs share. An utterance
    without a label is context: it is never trained on or scored as one of a class. `shares` are the soft label as pairs
    of class and share, from the columns `label_NAME`: votes or probabilities, not normalized. `previous` is no column,
    see `link_turns`.
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
    dialog: str = ""
    turn: int | None = None
    scene: str = ""
    shares: Shares = ()
    previous: "Utterance | None" = field(default=None, compare=False, repr=False)

    @property
    def split(self) -> str:
        """The unit that `--split` selects, and the name of the folder of its shards: the session, else the corpus."""
        return self.session or self.corpus

    @property
    def box(self) -> Box:
        """The person's region of the frame, as fractions."""
        return parse_crop(self.crop)

    def source(self, modality: str, context: int = 0) -> str:
        """The file, segment and (for faces) region that the features of a modality come from, as JSON.

        Only these columns change features: a label can be corrected without a new extraction. The path is in Unicode
        form NFC, whatever the form on the disk. Text has no file: its source is a hash of the words, and of those of
        the turns that the encoder reads before them.

        Args:
            modality: audio, face or text.
            context: number of previous turns that a text encoder reads.
        """
        if modality == TEXT:
            return text_source([*self.before(context), self] if plain_text(self.transcript) else [self])
        path, crop = _json(nfc(self.media(modality))), _json(self.crop if modality == "face" else "")
        start = "null" if self.start is None else repr(self.start)
        end = "null" if self.end is None else repr(self.end)
        # The text of json.dumps, which would take half of the time of a comparison with the shards.
        return f"[{path}, {start}, {end}, {crop}]"

    def media(self, modality: str) -> str:
        """The file of a modality, relative to the corpus root; empty if there is none, and for text."""
        if modality == TEXT:
            return ""
        return self.video if modality == "face" else self.audio

    def has(self, modality: str) -> bool:
        """Whether the manifest has what features of a modality come from: a file or, for text, a transcript."""
        return bool(plain_text(self.transcript) if modality == TEXT else self.media(modality))

    def before(self, count: int) -> list["Utterance"]:
        """The linked turns among the `count` turns before this one, the earliest first."""
        found: list[Utterance] = []
        earlier = self.previous
        while count and earlier is not None and _turn(earlier) >= _turn(self) - count:
            if _turn(earlier) < _turn(self):
                found.append(earlier)
            earlier = earlier.previous
        return found[::-1]

    def detached(self, context: int = 0) -> "Utterance":
        """The utterance without the turns before it, except the last `context` ones: sent to a worker, all would be."""
        if self.previous is None:
            return self
        previous = None
        for earlier in self.before(context):
            previous = replace(earlier, previous=previous)
        return replace(self, previous=previous)

    @property
    def seconds(self) -> float | None:
        """Length in seconds; None if the segment extends to the end of the file."""
        return None if self.end is None else self.end - (self.start or 0.0)


assert tuple(column.name for column in fields(Utterance)) == (*COLUMNS, "shares", "previous")


_json = lru_cache(maxsize=1024)(json.JSONEncoder().encode)
"""Consecutive utterances share their media file, and most share their crop."""


def utterances_of(columns: Mapping[str, Sequence[Any]]) -> list[Utterance]:
    """Utterances from their fields in columns, (n,) each; fields without a column have their defaults.

    The fields are set directly: the constructor takes three times as long, which counts for a million rows.
    """
    utterances = [object.__new__(Utterance) for _ in columns["id"]]
    for column in fields(Utterance):
        values = columns[column.name] if column.name in columns else repeat(column.default)
        # A deque of no length consumes the calls without a loop in Python.
        deque(map(getattr(Utterance, column.name).__set__, utterances, values), maxlen=0)
    return utterances


def _turn(utterance: Utterance) -> int:
    return utterance.turn or 0


def link_turns(utterances: Iterable[Utterance]) -> None:
    """Let each utterance with a dialog and a turn refer to the one before it in the same dialog (`previous`)."""
    dialogs: dict[tuple[str, str], list[Utterance]] = {}
    for utterance in utterances:
        if utterance.dialog and utterance.turn is not None:
            dialogs.setdefault((utterance.corpus, utterance.dialog), []).append(utterance)
    for turns in dialogs.values():
        turns.sort(key=_turn)
        for previous, utterance in pairwise(turns):
            # The utterance is not shared yet, and `previous` takes no part in comparisons.
            object.__setattr__(utterance, "previous", previous)


def plain_text(text: str) -> str:
    """A text in Unicode form NFC, with single spaces."""
    return " ".join(nfc(text).split())


def text_source(turns: Sequence[Utterance]) -> str:
    """The source of the text features of the last of some turns: a hash of all their words and of who speaks them."""
    content = list(zip(speaker_letters(turns), (plain_text(turn.transcript) for turn in turns), strict=True))
    return json.dumps([TEXT, xxhash.xxh3_128(json.dumps(content).encode()).hexdigest()])


def speaker_letters(turns: Sequence[Utterance]) -> list[str]:
    """The speaker of each turn as a letter, A for the first one: a name or a session would give the person away."""
    letters: dict[str, str] = {}
    for turn in turns:
        letters.setdefault(turn.speaker, chr(ord("A") + min(len(letters), 25)))
    return [letters[turn.speaker] for turn in turns]


def splits_of(utterances: Iterable[Utterance]) -> dict[str, list[Utterance]]:
    """Group utterances by split, in the order of the manifest."""
    rows = list(utterances)
    by_split: dict[str, list[Utterance]] = {}
    for split, utterance in zip(split_of_each(rows), rows, strict=True):
        by_split.setdefault(split, []).append(utterance)
    return by_split


def split_of_each(utterances: Iterable[Utterance]) -> list[str]:
    """`Utterance.split` of utterances: to call the property takes three times as long."""
    return [utterance.session or utterance.corpus for utterance in utterances]


def split_names(utterances: Iterable[Utterance]) -> list[str]:
    """The splits, in the order of the manifest."""
    return list(dict.fromkeys(split_of_each(utterances)))


def select_splits(utterances: Sequence[Utterance], wanted: Sequence[str]) -> list[Utterance]:
    """Select the utterances of some splits, or of `all`. Raises UsageError that lists the splits of the manifest."""
    by_split = splits_of(utterances)
    wanted = [nfc(name) for name in wanted]
    unknown = [name for name in wanted if name not in by_split and name != ALL]
    if unknown or not wanted:
        problem = f"unknown split {', '.join(map(quoted, unknown[:20]))}" if unknown else "no split was given"
        raise UsageError(f"{problem}; the manifest has {shortened(', '.join(by_split))} (or '{ALL}')")
    names = list(by_split) if ALL in wanted else list(dict.fromkeys(wanted))
    return [utterance for name in names for utterance in by_split[name]]


def split_folder(split: str) -> str:
    """The folder name of a split: characters that are not allowed in file names are percent-encoded."""
    return quote(split, safe=" ")
