"""The utterance: one row of a manifest."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from urllib.parse import quote

from .errors import UsageError
from .files.unicode_names import nfc
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

OPTIONAL = ("fold", "transcript", "valence", "arousal", "dominance", *DIALOG)
COLUMNS = REQUIRED + MEDIA + OPTIONAL
INTEGERS = ("turn",)
NUMBERS = ("start", "end", "valence", "arousal", "dominance", *INTEGERS)

ALL = "all"
MAX_FOLDER_LENGTH = 200
"""Maximum bytes of a folder name; file systems allow 255."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Utterance:
    """A segment of speech of one person, with its label.

    `audio` and `video` are paths relative to the corpus root; either may be empty, and both if the features are
    imported. `start` and `end` are seconds of the media; None means from the beginning and to the end. `valence`,
    `arousal` and `dominance` are the ratings of the corpus. `dialog` names a conversation, `turn` is the place in it,
    counted from 0 over all its turns, and `scene` is the script or scenario that several dialogs share. An utterance
    without a label is context: it is never trained on or scored.
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

    @property
    def split(self) -> str:
        """The unit that `--split` selects, and the name of the folder of its shards: the session, else the corpus."""
        return self.session or self.corpus

    @property
    def box(self) -> Box:
        """The person's region of the frame, as fractions."""
        return parse_crop(self.crop)

    def source(self, modality: str) -> str:
        """The file, segment and (for faces) region that the features of a modality come from, as JSON.

        Only these columns change features: a label can be corrected without a new extraction. The path is in Unicode
        form NFC, whatever the form on the disk.
        """
        crop = self.crop if modality == "face" else ""
        return json.dumps([nfc(self.media(modality)), self.start, self.end, crop])

    def media(self, modality: str) -> str:
        """The file of a modality, relative to the corpus root; empty if there is none."""
        return self.video if modality == "face" else self.audio

    @property
    def seconds(self) -> float | None:
        """Length in seconds; None if the segment extends to the end of the file."""
        return None if self.end is None else self.end - (self.start or 0.0)


assert tuple(field.name for field in fields(Utterance)) == COLUMNS


def splits_of(utterances: Iterable[Utterance]) -> dict[str, list[Utterance]]:
    """Group utterances by split, in the order of the manifest."""
    by_split: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        by_split.setdefault(utterance.split, []).append(utterance)
    return by_split


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
