"""What every corpus builder gives back, and what they share: classes, folds, the search for media."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..shared.errors import ManifestError, UsageError
from ..shared.utterance import Utterance

FOLDS = 5
AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3", ".m4a", ".aac", ".opus"})
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".flv", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv"})


@dataclass(frozen=True, kw_only=True)
class Built:
    """A corpus as a manifest: its utterances, its classes in order, and what had to be said about single files."""

    utterances: Sequence[Utterance]
    classes: Sequence[str]
    problems: Sequence[str] = field(default_factory=tuple)
    remarks: Sequence[str] = field(default_factory=tuple)


def existing_root(root: Path, expected: str) -> Path:
    """The corpus root, or a ManifestError that says what was expected there."""
    if not root.is_dir():
        what = "a file" if root.exists() else "nothing there"
        raise ManifestError(f"{root}: expected the corpus folder with {expected}, got {what}")
    return root


def chosen_classes(wanted: Sequence[str] | None, known: Sequence[str], usual: Sequence[str]) -> list[str]:
    """The classes asked for, or the corpus' usual ones; raises UsageError for a label the corpus does not know."""
    classes = list(dict.fromkeys(wanted or usual))
    unknown = [label for label in classes if label not in known]
    if unknown:
        raise UsageError(f"unknown label {', '.join(map(repr, unknown))}; this corpus has {', '.join(known)}")
    return classes


def media_files(root: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    """Media files below a folder in one fixed order; hidden ones (macOS leaves `._*` twins) are none.

    Raises OSError for a folder that cannot be read: without its files the corpus would be another.
    """
    found: list[Path] = []
    for folder, below, names in os.walk(root, onerror=_raise):
        below[:] = [name for name in below if not name.startswith(".")]
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    for path in sorted(found):
        if path.suffix.lower() in suffixes and path.is_file():
            yield path


def _raise(error: OSError) -> None:
    raise error


def unique(utterances: Sequence[Utterance]) -> tuple[list[Utterance], list[str]]:
    """The utterances with a sound id not seen before, and a line about each of the others."""
    kept: dict[str, Utterance] = {}
    problems = []
    for utterance in utterances:
        if not (utterance.id + utterance.audio + utterance.video).isprintable():
            name = utterance.id.encode("utf-8", "backslashreplace").decode()
            problems.append(f"{name!r}: a name that cannot stand in a manifest; rename the file; left out")
            continue
        first = kept.setdefault(utterance.id, utterance)
        if first is not utterance:
            path = utterance.video or utterance.audio
            problems.append(f"{path}: {utterance.id!r} a second time (first in {first.video or first.audio}); left out")
    return list(kept.values()), problems


def folds_by_speaker(utterances: Sequence[Utterance], count: int = FOLDS) -> list[Utterance]:
    """Give every utterance a fold, a speaker never standing in two; the largest speaker goes to the emptiest fold."""
    sizes = Counter(utterance.speaker for utterance in utterances)
    filled = [0] * min(count, len(sizes))
    fold_of: dict[str, str] = {}
    for speaker, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        emptiest = filled.index(min(filled))
        fold_of[speaker] = f"fold{emptiest + 1}"
        filled[emptiest] += size
    return [replace(utterance, fold=fold_of[utterance.speaker]) for utterance in utterances]


def folds_by_class(utterances: Sequence[Utterance], count: int = FOLDS) -> list[Utterance]:
    """Give every utterance a fold, each class dealt out evenly; for corpora whose speakers nobody knows."""
    dealt: Counter[str] = Counter()
    folded = []
    for utterance in utterances:
        folded.append(replace(utterance, fold=f"fold{dealt[utterance.label] % count + 1}"))
        dealt[utterance.label] += 1
    return folded


def table_of(utterances: Sequence[Utterance], classes: Sequence[str]) -> Mapping[str, Sequence[int]]:
    """Utterances per session (or fold) and class, classes in the given order."""
    counts = Counter((utterance.session or utterance.fold, utterance.label) for utterance in utterances)
    rows = sorted({row for row, _ in counts}, key=lambda row: (len(row), row))
    return {row: [counts[row, label] for label in classes] for row in rows}
