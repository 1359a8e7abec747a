"""The parts that all corpus builders share: their result, the choice of classes, unique ids, and counts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..shared.errors import ManifestError, UsageError
from ..shared.utterance import Utterance
from .folds import folds_by_speaker
from .media import MediaScan

MAX_DETAILS = 5


@dataclass(frozen=True, kw_only=True)
class ManifestResult:
    """A corpus as a manifest: its utterances, its classes in order, and messages about it.

    `warnings` name single files and lines that were skipped; `notes` are about the whole corpus.
    """

    utterances: Sequence[Utterance]
    classes: Sequence[str]
    warnings: Sequence[str] = field(default_factory=tuple)
    notes: Sequence[str] = field(default_factory=tuple)


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


def modality_notes(utterances: Sequence[Utterance]) -> list[str]:
    """Notes about utterances that have sound or picture alone; none if all have both."""
    total = len(utterances)
    notes = []
    for column, missing, kept in (("video", "picture", "audio"), ("audio", "sound", "face")):
        number = sum(not getattr(utterance, column) for utterance in utterances)
        if number == total:
            notes.append(f"no {missing} at all: extract with --streams {kept} and train with --modalities {kept}")
        elif number:
            notes.append(f"{number:,} of {total:,} utterances have no {missing} and keep the other")
    return notes


def finished_result(
    scan: MediaScan,
    utterances: Sequence[Utterance],
    wanted: Sequence[str],
    warnings: Sequence[str],
    *,
    example: str,
    published: int,
) -> ManifestResult:
    """The result of a corpus of actors: the wanted classes, folds by speaker, and a comparison with the known size.

    Raises:
        ManifestError: no utterance has one of the classes.
    """
    chosen = [utterance for utterance in utterances if utterance.label in wanted]
    if not chosen:
        details = "".join(f"\n{note}" for note in scan.notes()) + error_details(warnings)
        labels = ", ".join(wanted)
        raise ManifestError(
            f"{scan.root}: expected clips named like {example}, got none with the labels {labels}{details}"
        )
    kept, duplicates = drop_duplicate_ids(chosen)
    equal = "equal to" if len(utterances) == published else "NOT equal to"
    return ManifestResult(
        utterances=folds_by_speaker(kept),
        classes=wanted,
        warnings=[*warnings, *duplicates],
        notes=[
            f"{len(utterances):,} clips, {equal} the published {published:,}",
            *modality_notes(kept),
            *scan.notes(),
        ],
    )


def error_details(warnings: Sequence[str]) -> str:
    """The first warnings, one line each, to be appended to an error."""
    return "".join(f"\n{warning}" for warning in warnings[:MAX_DETAILS])


def class_counts(utterances: Sequence[Utterance], classes: Sequence[str]) -> Mapping[str, Sequence[int]]:
    """Utterances per session (or fold) and class, classes in the given order."""
    counts = Counter((utterance.session or utterance.fold, utterance.label) for utterance in utterances)
    rows = sorted({row for row, _ in counts}, key=lambda row: (len(row), row))
    return {row: [counts[row, label] for label in classes] for row in rows}
