"""Any corpus with a table of paths and labels; also MER2023 (Lian et al. 2023), whose table leaves out the suffixes."""

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...shared.errors import ManifestError, UsageError
from ...shared.labels import common_spellings, spelling_problems
from ...shared.soft_labels import share_problem, shares_of
from ...shared.text import counted, quoted
from ...shared.utterance import Utterance
from ..common import MAX_DETAILS, ManifestResult, drop_duplicate_ids, modality_notes, select_classes
from ..folds import classes_missing_in_folds, stratified_folds
from ..media import AUDIO_SUFFIXES, MediaScan, require_corpus_root, scan_media
from ..table import Table, find_columns, parse_columns, parse_seconds, read_table

USUAL: dict[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "clip", "name"),
    "audio": ("audio", "wav", "audio_path", "audio_file", "wav_path", "wav_file"),
    "video": ("video", "video_path", "video_file"),
    "label": ("label", "labels", "emotion", "class", "category", "discrete"),
    "id": ("id", "utterance_id", "utt_id", "segment_id"),
    "start": ("start", "start_time", "starttime", "onset", "begin"),
    "end": ("end", "end_time", "endtime", "offset", "stop"),
    "speaker": ("speaker", "speaker_id", "spk", "spk_id", "actor", "actor_id", "subject"),
    "gender": ("gender", "sex"),
    "session": ("session", "session_id"),
    "fold": ("fold", "split", "partition", "set", "subset"),
    "transcript": ("transcript", "transcription", "text", "sentence"),
    "valence": ("valence",),
    "arousal": ("arousal", "activation"),
    "dominance": ("dominance",),
    "dialog": ("dialog", "dialogue", "dialog_id", "dialogue_id", "conversation", "conversation_id"),
    "turn": ("turn", "turn_id"),
    "scene": ("scene", "scenario", "script"),
}
NUMBERS = ("start", "end", "valence", "arousal", "dominance")


@dataclass(kw_only=True)
class _Media:
    """Finds the files that a table names, as paths, as file names, or without suffix."""

    scan: MediaScan
    used: set[str] = field(default_factory=set)
    by_name: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in (*self.scan.video, *self.scan.audio):
            name = self.scan.name(path)
            for key in {_key(name), _key(path.name), _key(path.stem), _key(name.removesuffix(path.suffix))}:
                self.by_name.setdefault(key, []).append(name)

    def find(self, cell: str) -> Sequence[str]:
        """The files that a cell may mean, relative to the root."""
        if not cell:
            return []
        if (self.scan.root / cell).is_file():
            return [cell]
        return self.by_name.get(_key(cell.replace("\\", "/").removeprefix("./")), [])


def build(
    root: Path,
    classes: Sequence[str] | None = None,
    *,
    labels: Path | None = None,
    columns: Sequence[str] | None = None,
    normalize_labels: bool = False,
    context: bool = False,
    corpus: str = "",
) -> ManifestResult:
    """Build the manifest from a table with one row per utterance.

    A row names its media in a column `path` (a video is the audio, too), or in `audio` and `video`: paths relative to
    the root, or names of files anywhere below it, with or without suffix. Columns `label_NAME` are the shares of soft
    labels. Without a fold or a session, folds keep speakers together (files, if speakers are unknown) and balance the
    classes.

    Args:
        root: the folder of the media, or the table itself, whose folder is then that of the media.
        classes: labels to keep, in this order; None: all.
        labels: the table; None: the root, or the only `*label*.csv` below it.
        columns: `meaning=column` for columns with unusual names.
        normalize_labels: count labels that differ only in case and spaces as the same label.
        context: keep the rows with other labels or none, too, with an empty label.
        corpus: name of the corpus; "" : the name of the root.

    Raises:
        ManifestError: the table cannot be read, lacks a column, has a bad cell, or names no existing file.
        UsageError: an unknown label or column.
    """
    if root.is_file():
        labels, root = root, root.parent
    require_corpus_root(root, "media files and a table of labels")
    table = read_table(labels or _only_table(root))
    found = find_columns(table, USUAL, parse_columns(columns), ["label"])
    if not {"path", "audio", "video"} & set(found):
        raise ManifestError(
            f"{table.path}: expected a column for path, or for audio and video, got "
            f"{', '.join(map(quoted, table.header[:40]))}; name it with --columns path=NAME"
        )
    media = _Media(scan=scan_media(root))
    corpus = corpus or root.resolve().name
    warnings = media.scan.warnings()
    utterances: list[Utterance] = []
    missing: list[str] = []
    problems: list[str] = []
    occurrences: Counter[str] = Counter()
    for cells, line in zip(table.rows, table.lines, strict=True):
        row = {meaning: cells[column] for meaning, column in found.items()}
        where = f"{table.path}, line {line}"
        try:
            numbers, turn = _numbers(row, found), _turn(row, found)
            if problem := share_problem(cells):
                raise ValueError(f"column {problem}")
            audio, video = _files(row, media)
        except ValueError as error:
            problems.append(f"{where}: {error}")
            continue
        if not (audio or video):
            missing.append(f"{where}: no file {row.get('path') or row.get('audio') or row.get('video')!r}")
            continue
        media.used |= {audio, video}
        name = Path(video or audio).with_suffix("").as_posix()
        occurrences[name] += 1
        utterances.append(
            Utterance(
                id=row.get("id") or (name if occurrences[name] == 1 else f"{name}#{occurrences[name]}"),
                corpus=corpus,
                label=row["label"],
                audio=audio,
                video=video,
                speaker=row.get("speaker", ""),
                session=row.get("session", ""),
                fold=row.get("fold", ""),
                transcript=row.get("transcript", ""),
                gender=row.get("gender", "")[:1].upper(),
                start=numbers["start"],
                end=numbers["end"],
                valence=numbers["valence"],
                arousal=numbers["arousal"],
                dominance=numbers["dominance"],
                dialog=row.get("dialog", ""),
                turn=turn,
                scene=row.get("scene", ""),
                shares=shares_of(cells),
            )
        )
    if problems:
        raise ManifestError("\n".join(problems[:MAX_DETAILS]) + _more(problems))
    if not utterances:
        raise ManifestError(
            f"{table.path}: none of the {len(missing)} files that it names exists below {root}; give the folder of the "
            f"media as ROOT and the table with --labels{''.join(chr(10) + text for text in missing[:MAX_DETAILS])}"
        )
    if missing:
        warnings.append(f"{counted(len(missing), 'row')} without a file left out, the first: {missing[0]}")
    if normalize_labels:
        spelling = common_spellings(utterance.label for utterance in utterances)
        utterances = [_relabelled(utterance, spelling) for utterance in utterances]
    known = sorted({utterance.label for utterance in utterances if utterance.label})
    if not known:
        raise ManifestError(f"{table.path}: expected labels in the column {found['label']}, got empty cells only")
    wanted = select_classes(classes, known, known)
    warnings += [
        f"labels that differ only in case or spaces: {problem}; --normalize-labels merges them"
        for problem in spelling_problems(utterance.label for utterance in utterances)
    ]
    labelled = [u if u.label in wanted else replace(u, label="") for u in utterances if context or u.label in wanted]
    selected, duplicates = drop_duplicate_ids(labelled)
    folded = _with_folds(selected, table)
    if folded and folded[0].fold:
        warnings += classes_missing_in_folds(folded, wanted)
    for path in (*media.scan.audio, *media.scan.video):
        if media.scan.name(path) not in media.used:
            media.scan.leave_out(path, f"no row in {table.path.name}")
    named = ", ".join(f"{meaning}={column}" for meaning, column in found.items())
    notes = [*table.notes, f"columns: {named}; paths are relative to {root}", *_left_out(utterances, wanted, context)]
    return ManifestResult(
        utterances=folded,
        classes=wanted,
        warnings=warnings + duplicates,
        notes=[*notes, *modality_notes(folded), *media.scan.notes()],
    )


def _only_table(root: Path) -> Path:
    """The table of labels below the root, as in MER2023 (`train-label.csv`). Raises UsageError unless there is one."""
    tables = sorted(path for path in root.rglob("*.csv") if "label" in path.name.lower() and path.name[0] != ".")
    if len(tables) != 1:
        got = ", ".join(str(path) for path in tables[:MAX_DETAILS]) or "none"
        raise UsageError(f"{root}: expected one table of labels (*label*.csv), got {got}; choose one with --labels")
    return tables[0]


def _numbers(row: Mapping[str, str], found: Mapping[str, str]) -> dict[str, float | None]:
    """The numbers of a row. Raises ValueError that names the column."""
    numbers = {}
    for name in NUMBERS:
        try:
            numbers[name] = parse_seconds(row.get(name, ""))
        except ValueError:
            raise ValueError(f"column {found[name]}: expected a number, got {quoted(row[name])}") from None
    start, end = numbers["start"] or 0.0, numbers["end"]
    if start < 0 or (end is not None and end <= start):
        raise ValueError(f"column {found.get('end', 'end')}: expected a time after the start, got {start} to {end} s")
    return numbers


def _turn(row: Mapping[str, str], found: Mapping[str, str]) -> int | None:
    """The place of a row in its dialog. Raises ValueError that names the column."""
    text = row.get("turn", "")
    if text and not text.isdecimal():
        raise ValueError(f"column {found['turn']}: expected a whole number from 0 on, got {quoted(text)}")
    return int(text) if text else None


def _files(row: Mapping[str, str], media: _Media) -> tuple[str, str]:
    """The audio and the video file of a row; "" for one that it lacks. Raises ValueError if several could be meant."""
    audio, video = (_choose(row.get(kind, ""), media.find(row.get(kind, ""))) for kind in ("audio", "video"))
    files = media.find(row.get("path", ""))
    sounds = [name for name in files if Path(name).suffix.lower() in AUDIO_SUFFIXES]
    pictures = [name for name in files if name not in sounds]
    video = video or _choose(row.get("path", ""), pictures)
    audio = audio or _choose(row.get("path", ""), sounds) or video
    return audio, video


def _choose(cell: str, files: Sequence[str]) -> str:
    if len(files) > 1:
        raise ValueError(
            f"expected one file for {quoted(cell)}, got {', '.join(files[:3])}; write the path from the root"
        )
    return files[0] if files else ""


def _with_folds(utterances: Sequence[Utterance], table: Table) -> Sequence[Utterance]:
    """Folds for rows without fold and session. Raises ManifestError if only some rows have a fold."""
    empty = [utterance for utterance in utterances if not utterance.fold]
    if empty and len(empty) < len(utterances):
        named = ", ".join(utterance.id for utterance in empty[:MAX_DETAILS])
        raise ManifestError(
            f"{table.path}: the column of the fold is empty for {len(empty)} of {len(utterances)} utterances: {named}; "
            "fill it in, or name another column with --columns fold=NAME"
        )
    if not empty or all(utterance.session for utterance in utterances):
        return utterances
    return stratified_folds(utterances, [u.speaker or u.video or u.audio for u in utterances])


def _left_out(utterances: Sequence[Utterance], wanted: Sequence[str], context: bool) -> list[str]:
    counts = Counter(utterance.label or "(empty)" for utterance in utterances if utterance.label not in wanted)
    named = ", ".join(f"{label} {count:,}" for label, count in counts.most_common(20))
    taken = "kept as context" if context else "left out"
    return [f"{counted(sum(counts.values()), 'utterance')} of other labels {taken}: {named}"] if counts else []


def _relabelled(utterance: Utterance, spelling: Mapping[str, str]) -> Utterance:
    return replace(utterance, label=spelling[utterance.label])


def _more(problems: Sequence[str]) -> str:
    return f"\n... and {len(problems) - MAX_DETAILS} more" if len(problems) > MAX_DETAILS else ""


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())
