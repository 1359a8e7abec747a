"""IEMOCAP (Busso et al. 2008): five sessions of two actors, labelled turn by turn.

The speaker is the letter before the id's three digits, not that of the dialog: the dialog's letter names the actor who
wears the markers and stands on the left. Reading it the other way is wrong for half of the corpus.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..shared.errors import ManifestError
from ..shared.utterance import Utterance
from .common import Built, chosen_classes, existing_root, table_of, unique

LABELS = ("neu", "hap", "exc", "sad", "ang", "fru", "fea", "sur", "dis", "oth", "xxx")
CLASSES = ("neu", "hap", "sad", "ang")

# Utterances per session of the four classes, exc counted as hap; the counts every paper on the 5,531 starts from.
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
class _Turn:
    id: str
    label: str
    start: float
    end: float
    valence: float
    arousal: float
    dominance: float


def build(root: Path, classes: Sequence[str] | None = None, *, corpus: str = "iemocap") -> Built:
    """Read a corpus in IEMOCAP's layout. `exc` counts as `hap` unless `exc` is itself among the wanted classes.

    Raises ManifestError if there is no session, UsageError for a label that IEMOCAP does not have.
    """
    wanted = chosen_classes(classes, LABELS, CLASSES)
    sessions = [
        session
        for session in sorted(existing_root(root, "Session1 to Session5").glob("Session[1-5]"))
        if session.is_dir()
    ]
    if not sessions:
        raise ManifestError(f"{root}: expected the folders Session1 to Session5, got none of them")
    utterances: list[Utterance] = []
    problems: list[str] = []
    remarks: list[str] = []
    skipped: list[str] = []
    for session in sessions:
        labels = session / "dialog" / "EmoEvaluation"
        # Only files directly in this folder: below it lie the single annotators' files with the same names.
        # Path.glob says nothing of a folder that may not be read.
        files = sorted(labels.iterdir()) if labels.is_dir() else []
        dialogs = [path for path in files if path.suffix == ".txt" and path.is_file() and path.name[:2] != "._"]
        if not dialogs:
            problems.append(f"{labels}: expected the label files of the dialogs (*.txt), got none")
        for dialog in dialogs:
            texts = _transcripts(root, session / "dialog" / "transcriptions" / dialog.name, skipped)
            for turn in _turns(root, dialog, problems):
                label = "hap" if turn.label == "exc" and "exc" not in wanted else turn.label
                if label not in LABELS:
                    problems.append(
                        f"{dialog.relative_to(root)}: {turn.id} has the unknown label {turn.label!r}; left out"
                    )
                elif label in wanted:
                    found = _utterance(
                        root, session, dialog.stem, turn, label, texts.get(turn.id, ""), corpus, problems
                    )
                    utterances += [found] if found else []
    kept, twins = unique(utterances)
    if skipped:
        remarks.append(
            f"{len(skipped)} transcription lines are not of a turn and were skipped, the first: {skipped[0]}"
        )
    remarks.append(_self_check(kept, wanted) if corpus == "iemocap" else "not compared with IEMOCAP's counts")
    return Built(utterances=kept, classes=wanted, problems=problems + twins, remarks=remarks)


def _turns(root: Path, path: Path, problems: list[str]) -> list[_Turn]:
    turns = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.startswith("["):
            continue
        where = f"{path.relative_to(root)}, line {number}"
        match = _LABEL_LINE.fullmatch(line)
        if match is None:
            problems.append(
                f"{where}: expected '[start - end] id label [valence, activation, dominance]', got {line!r}; left out"
            )
            continue
        start, end, name, label, valence, arousal, dominance = match.groups()
        if _ID.fullmatch(name) is None or not name.startswith(path.stem):
            problems.append(f"{where}: expected the id of a turn of {path.stem}, got {name!r}; left out")
        elif float(end) <= float(start):
            problems.append(f"{where}: {name} ends ({end} s) before it starts ({start} s); left out")
        else:
            turns.append(
                _Turn(
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


def _transcripts(root: Path, path: Path, skipped: list[str]) -> dict[str, str]:
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


def _utterance(
    root: Path, session: Path, dialog: str, turn: _Turn, label: str, text: str, corpus: str, problems: list[str]
) -> Utterance | None:
    letter = turn.id[-4]
    audio = session / "sentences" / "wav" / dialog / f"{turn.id}.wav"
    video = session / "dialog" / "avi" / "DivX" / f"{dialog}.avi"
    paths = []
    for path in (audio, video):
        paths.append(path.relative_to(root).as_posix() if path.is_file() else "")
        if not paths[-1]:
            problems.append(f"{path.relative_to(root)}: expected the media of {turn.id}, got no such file")
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


def _self_check(utterances: Sequence[Utterance], classes: Sequence[str]) -> str:
    """Whether the session x class table is the published one."""
    if sorted(classes) != sorted(CLASSES):
        return f"not compared with the published counts, which are of the classes {', '.join(CLASSES)}"
    got = table_of(utterances, CLASSES)
    if got == PUBLISHED:
        return "equal to the published counts: 5,531 utterances, session by session and class by class"
    lines = [f"NOT equal to the published counts of IEMOCAP: {len(utterances):,} utterances instead of 5,531"]
    for session, published in PUBLISHED.items():
        counts = got.get(session, [0] * len(CLASSES))
        different = [
            f"{label} {here} instead of {there}"
            for label, here, there in zip(CLASSES, counts, published, strict=True)
            if here != there
        ]
        if different:
            lines.append(f"  {session}: {', '.join(different)}")
    return "\n".join(lines)
