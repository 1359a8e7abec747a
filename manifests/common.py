"""The parts that all corpus builders share: their result, the choice of classes, folds, and the search for media."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..shared.errors import ManifestError, UsageError
from ..shared.utterance import Utterance

NUM_FOLDS = 5
MAX_DETAILS = 5
AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3", ".m4a", ".aac", ".opus"})
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".flv", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv"})


@dataclass(frozen=True, kw_only=True)
class ManifestResult:
    """A corpus as a manifest: its utterances, its classes in order, and messages about it.

    `warnings` name single files and lines that were skipped; `notes` are about the whole corpus.
    """

    utterances: Sequence[Utterance]
    classes: Sequence[str]
    warnings: Sequence[str] = field(default_factory=tuple)
    notes: Sequence[str] = field(default_factory=tuple)


def require_corpus_root(root: Path, expected: str) -> Path:
    """Return the corpus root. Raises ManifestError if it is no folder; `expected` names its contents."""
    if not root.is_dir():
        problem = "it is a file" if root.exists() else "it does not exist"
        raise ManifestError(f"{root}: expected the corpus folder with {expected}, but {problem}")
    return root


def select_classes(wanted: Sequence[str] | None, known: Sequence[str], default: Sequence[str]) -> list[str]:
    """The wanted classes in their order, or the default ones.

    Raises:
        UsageError: a wanted label is not one of the `known` labels of the corpus.
    """
    classes = list(dict.fromkeys(wanted or default))
    unknown = [label for label in classes if label not in known]
    if unknown:
        raise UsageError(f"unknown label {', '.join(map(repr, unknown))}; this corpus has {', '.join(known)}")
    return classes


def media_files(root: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    """Yield the media files below a folder in a fixed order, without hidden ones (macOS leaves `._*` twins).

    Raises:
        OSError: a folder cannot be read; without its files the corpus would be incomplete.
    """
    paths: list[Path] = []
    for folder, subfolders, names in os.walk(root, onerror=_raise):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        paths += [Path(folder, name) for name in names if not name.startswith(".")]
    for path in sorted(paths):
        if path.suffix.lower() in suffixes and path.is_file():
            yield path


def _raise(error: OSError) -> None:
    raise error


def drop_duplicate_ids(utterances: Sequence[Utterance]) -> tuple[list[Utterance], list[str]]:
    """The utterances with a printable id that did not occur before, and one warning for each of the others."""
    kept: dict[str, Utterance] = {}
    warnings = []
    for utterance in utterances:
        if not (utterance.id + utterance.audio + utterance.video).isprintable():
            name = utterance.id.encode("utf-8", "backslashreplace").decode()
            warnings.append(f"{name!r}: expected a printable name, since it goes into the manifest; skipped")
            continue
        first = kept.setdefault(utterance.id, utterance)
        if first is not utterance:
            path = utterance.video or utterance.audio
            warnings.append(f"{path}: repeats the id {utterance.id!r} of {first.video or first.audio}; skipped")
    return list(kept.values()), warnings


def error_details(warnings: Sequence[str]) -> str:
    """The first warnings, one line each, to be appended to an error."""
    return "".join(f"\n{warning}" for warning in warnings[:MAX_DETAILS])


def folds_by_speaker(utterances: Sequence[Utterance], count: int = NUM_FOLDS) -> list[Utterance]:
    """Assign speaker-independent folds: the speaker with the most utterances goes to the emptiest fold."""
    sizes = Counter(utterance.speaker for utterance in utterances)
    filled = [0] * min(count, len(sizes))
    fold_of: dict[str, str] = {}
    for speaker, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        emptiest = filled.index(min(filled))
        fold_of[speaker] = f"fold{emptiest + 1}"
        filled[emptiest] += size
    return [replace(utterance, fold=fold_of[utterance.speaker]) for utterance in utterances]


def folds_by_class(utterances: Sequence[Utterance], count: int = NUM_FOLDS) -> list[Utterance]:
    """Assign folds with equal shares of each class, for corpora without speakers."""
    assigned: Counter[str] = Counter()
    folded = []
    for utterance in utterances:
        folded.append(replace(utterance, fold=f"fold{assigned[utterance.label] % count + 1}"))
        assigned[utterance.label] += 1
    return folded


def class_counts(utterances: Sequence[Utterance], classes: Sequence[str]) -> Mapping[str, Sequence[int]]:
    """Utterances per session (or fold) and class, classes in the given order."""
    counts = Counter((utterance.session or utterance.fold, utterance.label) for utterance in utterances)
    rows = sorted({row for row, _ in counts}, key=lambda row: (len(row), row))
    return {row: [counts[row, label] for label in classes] for row in rows}
