"""IEMOCAP (Busso et al. 2008): five sessions of two actors, labelled turn by turn.

The speaker of a turn is the letter before the three digits of its id. The letter of the dialog is a different one: it
names the actor who wears the markers and is in the left half of the picture.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...shared.errors import ManifestError
from ...shared.utterance import Utterance
from ..common import ManifestResult, class_counts, drop_duplicate_ids, select_classes
from ..media import require_corpus_root

LABELS = ("neu", "hap", "exc", "sad", "ang", "fru", "fea", "sur", "dis", "oth", "xxx")
CLASSES = ("neu", "hap", "sad", "ang")

SIX_CLASSES = ("hap", "sad", "neu", "ang", "exc", "fru")

# Utterances per session and class, exc counted as hap: the 5,531 utterances that papers on four classes use.
PUBLISHED = {
    "session1": [384, 278, 194, 229],
    "session2": [362, 327, 197, 137],
    "session3": [320, 286, 305, 240],
    "session4": [258, 303, 143, 327],
    "session5": [384, 442, 245, 170],
}

# The 7,380 utterances of the six classes in the label files.
PUBLISHED_SIX = {
    "session1": [135, 194, 384, 229, 143, 280],
    "session2": [117, 197, 362, 137, 210, 325],
    "session3": [135, 305, 320, 240, 151, 382],
    "session4": [65, 143, 258, 327, 238, 481],
    "session5": [143, 245, 384, 170, 299, 381],
}
TURNS, DIALOGS = 10_039, 151
SIX_NOTE = (
    "papers on emotion recognition in conversation have 7,433 utterances: these 7,380, and 53 improvised turns whose "
    "official label is xxx and which a list of labels by third parties calls happy"
)

_ID = re.compile(r"Ses0[1-5][FM]_(impro\d{2}[a-z]?|script\d{2}_\d[a-z]?)_[FM]\d{3}")
_NUMBER = r"\s*([-+]?\d+(?:\.\d+)?)\s*"
_LABEL_LINE = re.compile(rf"\[{_NUMBER}-{_NUMBER}\]\s+(\S+)\s+([A-Za-z]+)\s+\[{_NUMBER},{_NUMBER},{_NUMBER}\]\s*")
_SCENE = re.compile(r"(?:impro|script)\d{2}")
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
    number: int = 0


def build(
    root: Path, classes: Sequence[str] | None = None, *, corpus: str = "iemocap", context: bool = False
) -> ManifestResult:
    """Build the manifest of a corpus in IEMOCAP's layout.

    `dialog` is the name of the dialog, `turn` the place among all its turns in the order of their starts, and `scene`
    the script or the scenario of an improvisation (script01 to script03, impro01 to impro08), which all sessions share.

    Args:
        root: the folder that holds Session1 to Session5.
        classes: labels to keep, in this order; None: neu, hap, sad and ang. `exc` counts as `hap` unless it is itself
            a wanted class.
        corpus: the name of the corpus; the counts of "iemocap" are compared with the published ones.
        context: keep the turns with other labels, too, with an empty label.

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
                    outcome = "kept without a label" if context else "skipped"
                    warnings.append(
                        f"{dialog.relative_to(root)}: {turn.id} has the unknown label {turn.label!r}; {outcome}"
                    )
                if label not in wanted and not context:
                    continue
                text = texts.get(turn.id, "")
                utterance = _build_utterance(
                    root, session, dialog.stem, turn, label if label in wanted else "", text, corpus, warnings
                )
                if utterance is not None:
                    utterances.append(utterance)
    kept, duplicates = drop_duplicate_ids(utterances)
    if skipped:
        notes.append(f"{len(skipped)} transcription lines without a turn were skipped, the first: {skipped[0]}")
    if context:
        notes.append(_count_turns(kept, corpus))
    if corpus == "iemocap":
        notes += _compare_counts([utterance for utterance in kept if utterance.label], wanted)
    else:
        notes.append("not compared with IEMOCAP's counts")
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
    # The rows keep the order of the file; speakers overlap, so that it is not always that of the starts.
    order = sorted(range(len(turns)), key=lambda row: (turns[row].start, turns[row].end))
    number_of = {row: number for number, row in enumerate(order)}
    return [replace(turn, number=number_of[row]) for row, turn in enumerate(turns)]


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
    # Strings: Path objects would take most of the time.
    media = (
        f"{session.name}/sentences/wav/{dialog}/{turn.id}.wav",
        f"{session.name}/dialog/avi/DivX/{dialog}.avi",
    )
    paths = []
    for name in media:
        paths.append(name if os.path.isfile(f"{root}/{name}") else "")
        if not paths[-1]:
            warnings.append(f"{name}: expected the media of {turn.id}, but there is no such file")
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
        dialog=dialog,
        turn=turn.number,
        scene=scene[0] if (scene := _SCENE.search(dialog)) else "",
    )


def _count_turns(utterances: Sequence[Utterance], corpus: str) -> str:
    dialogs = len({utterance.dialog for utterance in utterances})
    unlabelled = sum(not utterance.label for utterance in utterances)
    text = f"{len(utterances):,} turns of {dialogs} dialogs, of which {unlabelled:,} without a label, as context"
    if corpus == "iemocap" and (len(utterances), dialogs) != (TURNS, DIALOGS):
        text += f"; NOT equal to the published {TURNS:,} turns of {DIALOGS} dialogs"
    return text


def _compare_counts(utterances: Sequence[Utterance], classes: Sequence[str]) -> list[str]:
    """Notes that compare the counts per session and class with the published ones."""
    if sorted(classes) == sorted(CLASSES):
        names: Sequence[str] = CLASSES
        published = PUBLISHED
    elif sorted(classes) == sorted(SIX_CLASSES):
        names, published = SIX_CLASSES, PUBLISHED_SIX
    else:
        return [
            f"not compared with the published counts, which are for the classes {', '.join(CLASSES)}, or for "
            f"{', '.join(SIX_CLASSES)}"
        ]
    got = class_counts(utterances, names)
    total = sum(map(sum, published.values()))
    notes = [SIX_NOTE] if published is PUBLISHED_SIX else []
    if got == published:
        return [f"equal to the published counts: {total:,} utterances, session by session and class by class", *notes]
    lines = [f"NOT equal to the published counts of IEMOCAP: {len(utterances):,} utterances instead of {total:,}"]
    for session, expected_counts in published.items():
        counts = got.get(session, [0] * len(names))
        different = [
            f"{label} {count} instead of {expected}"
            for label, count, expected in zip(names, counts, expected_counts, strict=True)
            if count != expected
        ]
        if different:
            lines.append(f"  {session}: {', '.join(different)}")
    return ["\n".join(lines), *notes]
