"""IEMOCAP (Busso et al. 2008): five sessions of two actors, labelled turn by turn.

The speaker of a turn is the letter before the three digits of its id. The letter of the dialog is a different one: it
names the actor who wears the markers and is in the left half of the picture.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..shared.errors import ManifestError
from ..shared.utterance import Utterance
from .common import ManifestResult, class_counts, drop_duplicate_ids, require_corpus_root, select_classes

LABELS = ("neu", "hap", "exc", "sad", "ang", "fru", "fea", "sur", "dis", "oth", "xxx")
CLASSES = ("neu", "hap", "sad", "ang")

# Utterances per session and class, exc counted as hap: the 5,531 utterances that papers on four classes use.
PUBLISHED = {
    "session1": [384, 278, 194, 229],
    "session2": [362, 327, 197, 137],
    "session3": [320, 286, 305, 240],
    "session4": [258, 303, 143, 327],
    "session5": [384, 442, 245, 170],
}

_ID = re.compile(r"Ses0[1-5][FM]_(impro\d{2}[a-z]?|script\d{2}_\d[a-z]?)_[FM]\d{3}")
_NUMBER = r"\s*([-+]?\d+(?:\.\d+)?)\s*"
_LABEL_LINE = re.compile(rf"\[{_NUMBER}-{_NUMBER}\]\s+(\S+)\s+([A-Za-z]+)\s+\[{_NUMBER},{_NUMBER},{_NUMBER}\]\s*")
_TRANSCRIPT_LINE = re.compile(r"(\S+) \[[\d.]+\s*-\s*[\d.]+\]:\s*(.*)")


@dataclass(frozen=True, kw_only=True)
class _LabelledTurn:
    id: str
    label: str
    start: float
    end: float
    valence: float
    arousal: float
    dominance: float


def build(root: Path, classes: Sequence[str] | None = None, *, corpus: str = "iemocap") -> ManifestResult:
    """Build the manifest of a corpus in IEMOCAP's layout.

    Args:
        root: the folder that holds Session1 to Session5.
        classes: labels to keep, in this order; None: neu, hap, sad and ang. `exc` counts as `hap` unless it is itself
            a wanted class.
        corpus: the name of the corpus; the counts of "iemocap" are compared with the published ones.

    Raises:
        ManifestError: there is no session.
        UsageError: IEMOCAP has no such label.
    """
    wanted = select_classes(classes, LABELS, CLASSES)
    require_corpus_root(root, "Session1 to Session5")
    sessions = [session for session in sorted(root.glob("Session[1-5]")) if session.is_dir()]
    if not sessions:
        raise ManifestError(f"{root}: expected the folders Session1 to Session5, got none of them")
    utterances: list[Utterance] = []
    warnings: list[str] = []
    notes: list[str] = []
    skipped: list[str] = []
    for session in sessions:
        labels = session / "dialog" / "EmoEvaluation"
        # Only files directly in this folder: its sub-folders hold the files of single annotators, with the same names.
        # Path.glob would ignore a folder that cannot be read.
        files = sorted(labels.iterdir()) if labels.is_dir() else []
        dialogs = [path for path in files if path.suffix == ".txt" and path.is_file() and path.name[:2] != "._"]
        if not dialogs:
            warnings.append(f"{labels}: expected the label files of the dialogs (*.txt), got none")
        for dialog in dialogs:
            texts = _read_transcripts(root, session / "dialog" / "transcriptions" / dialog.name, skipped)
            for turn in _read_turns(root, dialog, warnings):
                label = "hap" if turn.label == "exc" and "exc" not in wanted else turn.label
                if label not in LABELS:
                    warnings.append(
                        f"{dialog.relative_to(root)}: {turn.id} has the unknown label {turn.label!r}; skipped"
                    )
                elif label in wanted:
                    text = texts.get(turn.id, "")
                    utterance = _build_utterance(root, session, dialog.stem, turn, label, text, corpus, warnings)
                    if utterance is not None:
                        utterances.append(utterance)
    kept, duplicates = drop_duplicate_ids(utterances)
    if skipped:
        notes.append(f"{len(skipped)} transcription lines without a turn were skipped, the first: {skipped[0]}")
    notes.append(_compare_counts(kept, wanted) if corpus == "iemocap" else "not compared with IEMOCAP's counts")
    return ManifestResult(utterances=kept, classes=wanted, warnings=warnings + duplicates, notes=notes)


def _read_turns(root: Path, path: Path, warnings: list[str]) -> list[_LabelledTurn]:
    turns = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.startswith("["):
            continue
        where = f"{path.relative_to(root)}, line {number}"
        match = _LABEL_LINE.fullmatch(line)
        if match is None:
            warnings.append(
                f"{where}: expected '[start - end] id label [valence, activation, dominance]', got {line!r}; skipped"
            )
            continue
        start, end, name, label, valence, arousal, dominance = match.groups()
        if _ID.fullmatch(name) is None or not name.startswith(path.stem):
            warnings.append(f"{where}: expected the id of a turn of {path.stem}, got {name!r}; skipped")
        elif float(end) <= float(start):
            warnings.append(f"{where}: {name} ends ({end} s) before it starts ({start} s); skipped")
        else:
            turns.append(
                _LabelledTurn(
                    id=name,
                    label=label,
                    start=float(start),
                    end=float(end),
                    valence=float(valence),
                    arousal=float(arousal),
                    dominance=float(dominance),
                )
            )
    return turns


def _read_transcripts(root: Path, path: Path, skipped: list[str]) -> dict[str, str]:
    if not path.is_file():
        return {}
    texts: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        match = _TRANSCRIPT_LINE.fullmatch(line.strip())
        if match is not None:
            texts[match[1]] = match[2].strip()
        elif line.strip():
            skipped.append(f"{path.relative_to(root)}, line {number}")
    return texts


def _build_utterance(
    root: Path, session: Path, dialog: str, turn: _LabelledTurn, label: str, text: str, corpus: str, warnings: list[str]
) -> Utterance | None:
    letter = turn.id[-4]
    audio = session / "sentences" / "wav" / dialog / f"{turn.id}.wav"
    video = session / "dialog" / "avi" / "DivX" / f"{dialog}.avi"
    paths = []
    for path in (audio, video):
        paths.append(path.relative_to(root).as_posix() if path.is_file() else "")
        if not paths[-1]:
            warnings.append(f"{path.relative_to(root)}: expected the media of {turn.id}, but there is no such file")
    if not any(paths):
        return None
    number = session.name.removeprefix("Session")
    return Utterance(
        id=turn.id,
        corpus=corpus,
        session=f"session{number}",
        speaker=f"Ses0{number}{letter}",
        gender=letter,
        label=label,
        audio=paths[0],
        video=paths[1],
        start=turn.start,
        end=turn.end,
        crop="left" if turn.id[5] == letter else "right",
        transcript=text,
        valence=turn.valence,
        arousal=turn.arousal,
        dominance=turn.dominance,
    )


def _compare_counts(utterances: Sequence[Utterance], classes: Sequence[str]) -> str:
    """A note that compares the counts per session and class with the published ones."""
    if sorted(classes) != sorted(CLASSES):
        return f"not compared with the published counts, which are for the classes {', '.join(CLASSES)}"
    got = class_counts(utterances, CLASSES)
    if got == PUBLISHED:
        return "equal to the published counts: 5,531 utterances, session by session and class by class"
    lines = [f"NOT equal to the published counts of IEMOCAP: {len(utterances):,} utterances instead of 5,531"]
    for session, published in PUBLISHED.items():
        counts = got.get(session, [0] * len(CLASSES))
        different = [
            f"{label} {count} instead of {expected}"
            for label, count, expected in zip(CLASSES, counts, published, strict=True)
            if count != expected
        ]
        if different:
            lines.append(f"  {session}: {', '.join(different)}")
    return "\n".join(lines)
