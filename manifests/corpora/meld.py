"""MELD (Poria et al. 2019): dialogs of a television series, seven emotions, with its own training, dev and test sets.

Ids restart in each set, so that set, dialog and utterance together name a clip. The files have irregularities that the
corpus' issue tracker describes: clips that are missing, cannot be decoded, or were cut wrongly.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ...shared.errors import ManifestError
from ...shared.folds import fold_role
from ...shared.text import counted
from ...shared.utterance import Utterance
from ..common import MAX_DETAILS, ManifestResult, drop_duplicate_ids, modality_notes, select_classes
from ..media import MediaScan, require_corpus_root, scan_media
from ..table import Table, parse_seconds, read_table

CLASSES = ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear")
SETS = ("train", "dev", "test")
PUBLISHED = {"train": 9989, "dev": 1109, "test": 2610}
"""Rows of the tables. Usable are 9,988, 1,108 and 2,610: BROKEN, and dev_dia110_utt7, which no archive contains."""

BROKEN = {"train_dia125_utt3": "cannot be decoded (issues 39 and 52 of the corpus)"}
OUT_OF_STEP = (241, 485, 757)
"""Dialogs of the training set whose text and video do not belong together (issue 9 of the corpus)."""

LONGEST_S = 41.0
"""Clips of this length and more by the times of the table are cut wrongly: three, of 41, 235 and 305 seconds."""

LARGE_BYTES = 2_500_000
"""Training clips above this size often have a disturbed sound track (issue tracker of the corpus)."""

_TABLE = re.compile(r"(train|dev|val|test)_sent_emo\.csv", re.IGNORECASE)
_CLIP = re.compile(r"dia(\d+)_utt(\d+)", re.IGNORECASE)
_SET = re.compile(r"train|dev|val|test")
_COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")


def build(root: Path, classes: Sequence[str] | None = None, *, context: bool = False) -> ManifestResult:
    """Build the manifest from the tables `*_sent_emo.csv` and the clips `diaX_uttY.mp4` anywhere below the root.

    The set of a clip is that of the nearest folder whose name contains train, dev or test. The manifest's `fold` is the
    set, `dialog` and `turn` are the ids of the tables, and clips are whole files.

    Args:
        root: the corpus folder.
        classes: labels to keep, in this order; None: all seven.
        context: keep the utterances with other labels, too, with an empty label.

    Raises:
        ManifestError: there is no table, or no clip of a table.
        UsageError: MELD has no such label.
    """
    wanted = select_classes(classes, CLASSES, CLASSES)
    require_corpus_root(root, "train_sent_emo.csv and train_splits/dia0_utt0.mp4, and so on")
    scan = scan_media(root)
    warnings = scan.warnings()
    tables = _tables(root, warnings)
    clips = _clips(scan, warnings)
    notes = [note for table in tables.values() for note in table.notes]
    utterances: list[Utterance] = []
    suspicious: list[str] = []
    missing: list[str] = []
    used: set[str] = set()
    for fold, table in tables.items():
        for row, line in zip(table.rows, table.lines, strict=True):
            where = f"{table.path}, line {line}"
            label = row["Emotion"].lower()
            if not (row["Dialogue_ID"].isdigit() and row["Utterance_ID"].isdigit()) or label not in CLASSES:
                warnings.append(
                    f"{where}: expected ids and one of {', '.join(CLASSES)}, got dialog {row['Dialogue_ID']!r}, "
                    f"utterance {row['Utterance_ID']!r}, emotion {row['Emotion']!r}; skipped"
                )
                continue
            dialog, turn = int(row["Dialogue_ID"]), int(row["Utterance_ID"])
            name = f"{fold}_dia{dialog}_utt{turn}"
            files = clips.get(name, {})
            used.add(name)
            if name in BROKEN:
                warnings.append(f"{name}: {BROKEN[name]}; skipped")
                continue
            if not files:
                missing.append(name)
                continue
            if label not in wanted and not context:
                continue
            if (seconds := _seconds(row)) is not None and not 0 < seconds < LONGEST_S:
                suspicious.append(f"{name} ({seconds:.0f} s)")
            video = files.get("video", "")
            utterances.append(
                Utterance(
                    id=name,
                    corpus="meld",
                    speaker=row["Speaker"],
                    label=label if label in wanted else "",
                    audio=files.get("audio") or video,
                    video=video,
                    fold=fold,
                    transcript=row["Utterance"],
                    dialog=f"{fold}_dia{dialog}",
                    turn=turn,
                )
            )
    if not utterances:
        raise ManifestError(
            f"{root}: expected clips named like train_splits/dia0_utt0.mp4 for the rows of the tables, got none"
            + "".join(f"\n{note}" for note in scan.notes())
        )
    if missing:
        warnings.append(
            f"{counted(len(missing), 'row')} without a clip left out: {', '.join(missing[:MAX_DETAILS])}"
            f"{', ...' if len(missing) > MAX_DETAILS else ''}"
        )
    if suspicious:
        warnings.append(
            f"{counted(len(suspicious), 'clip')} cut wrongly by the times of the table, but kept: "
            f"{', '.join(suspicious[:MAX_DETAILS])}"
        )
    for name, files in clips.items():
        for file in files.values() if name not in used else ():
            scan.leave_out(root / file, "no row in the table of its set")
    kept, duplicates = drop_duplicate_ids(utterances)
    notes += [*_known_faults(root, kept), *_compare_counts(tables, kept, context), *modality_notes(kept)]
    return ManifestResult(
        utterances=kept, classes=wanted, warnings=warnings + duplicates, notes=[*notes, *scan.notes()]
    )


def _tables(root: Path, warnings: list[str]) -> dict[str, Table]:
    """The table of each set, in the order of SETS. Raises ManifestError if there is none, and for a wrong header."""
    paths: dict[str, Path] = {}
    for path in sorted(root.rglob("*_sent_emo.csv"), key=lambda path: (len(path.parts), path)):
        if match := _TABLE.fullmatch(path.name):
            first = paths.setdefault(str(fold_role(match[1])), path)
            if first != path and first.read_bytes() != path.read_bytes():
                warnings.append(f"{path}: differs from {first}, which is read; skipped")
    if not paths:
        raise ManifestError(f"{root}: expected train_sent_emo.csv, dev_sent_emo.csv and test_sent_emo.csv, got none")
    tables = {}
    for fold in SETS:
        if fold not in paths:
            warnings.append(f"{fold}_sent_emo.csv: no such table below {root}; the set is left out")
            continue
        tables[fold] = read_table(paths[fold])
        if lacking := [name for name in _COLUMNS if name not in tables[fold].header]:
            raise ManifestError(
                f"{paths[fold]}, line 1: expected the columns {', '.join(_COLUMNS)}, got no {', '.join(lacking)}"
            )
    return tables


def _clips(scan: MediaScan, warnings: list[str]) -> Mapping[str, Mapping[str, str]]:
    """The files of each clip such as train_dia0_utt0: "audio" and "video" to the path."""
    clips: dict[str, dict[str, str]] = {}
    for kind, paths in (("video", scan.video), ("audio", scan.audio)):
        for path in paths:
            match = _CLIP.fullmatch(path.stem)
            fold = next(_sets_in(path.relative_to(scan.root).parts[:-1]), None)
            if match is None:
                scan.leave_out(path, "not named like dia0_utt0")
            elif fold is None:
                scan.leave_out(path, "in no folder of train, dev or test")
            else:
                name = f"{fold}_dia{int(match[1])}_utt{int(match[2])}"
                first = clips.setdefault(name, {}).setdefault(kind, scan.name(path))
                if first != scan.name(path):
                    warnings.append(f"{scan.name(path)}: repeats the clip {first}; skipped")
    return clips


def _sets_in(folders: Sequence[str]) -> Iterator[str]:
    """The set of the nearest folder: `output_repeated_splits_test` is the test set."""
    for folder in reversed(folders):
        if words := _SET.findall(folder.lower()):
            yield str(fold_role(words[-1]))


def _seconds(row: Mapping[str, str]) -> float | None:
    try:
        start, end = parse_seconds(row.get("StartTime", "")), parse_seconds(row.get("EndTime", ""))
    except ValueError:
        return None
    return None if start is None or end is None else end - start


def _known_faults(root: Path, utterances: Sequence[Utterance]) -> list[str]:
    notes = []
    named = {f"train_dia{number}" for number in OUT_OF_STEP}
    if count := sum(utterance.dialog in named for utterance in utterances):
        notes.append(
            f"text and video are out of step in the training dialogs {', '.join(map(str, OUT_OF_STEP))}: "
            f"{counted(count, 'utterance')}, kept"
        )
    large = sum(
        (root / utterance.video).stat().st_size > LARGE_BYTES
        for utterance in utterances
        if utterance.fold == "train" and utterance.video
    )
    if large:
        notes.append(f"{counted(large, 'training clip')} above 2.5 MB, whose sound is often disturbed; kept")
    return notes


def _compare_counts(tables: Mapping[str, Table], utterances: Sequence[Utterance], context: bool) -> list[str]:
    """Notes that compare the rows of the tables with the published ones, and count what is usable."""
    rows = {fold: len(table.rows) for fold, table in tables.items()}
    counts = Counter(utterance.fold for utterance in utterances)
    listed = ", ".join(f"{fold} {counts[fold]:,} of {rows[fold]:,} rows" for fold in rows)
    equal = "equal" if rows == PUBLISHED else "NOT equal"
    notes = [f"{listed}; the tables are {equal} to the published 9,989, 1,109 and 2,610 rows"]
    if context:
        notes.append(f"{sum(not u.label for u in utterances):,} utterances without a label, as context")
    return notes
