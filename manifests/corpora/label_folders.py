"""Any corpus with one sub-folder per label."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...shared.errors import ManifestError, UsageError
from ...shared.folds import fold_role
from ...shared.labels import common_spellings, spelling_problems
from ...shared.text import counted, quoted, shortened
from ...shared.utterance import Utterance
from ..common import ManifestResult, drop_duplicate_ids, error_details, select_classes
from ..folds import classes_missing_in_folds, stratified_folds
from ..media import MediaScan, require_corpus_root, scan_media

# fmt: off
MEDIA_FOLDERS = frozenset({
    "audio", "audios", "sound", "sounds", "wav", "wavs", "flac", "mp3", "video", "videos", "movie", "movies", "mp4",
    "mp4s", "avi", "flv", "mov", "mkv",
})
# fmt: on
"""Names of folders that separate sound from pictures and say nothing else about an utterance."""

MAX_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class _File:
    """A media file: its fold and label, and its name below the label's folder, without suffix and media folders."""

    path: Path
    is_video: bool
    fold: str
    label: str
    name: str

    @property
    def id(self) -> str:
        return "/".join(part for part in (self.fold, self.label, self.name) if part)


def build(
    root: Path, classes: Sequence[str] | None = None, *, speaker: str | None = None, normalize_labels: bool = False
) -> ManifestResult:
    """Build the manifest with one utterance per media file below `<root>/<label>/`.

    `a.wav` next to `a.mp4` is the audio of that video, and so are `<label>/audio/a.wav` and `<label>/video/a.mp4`, or
    `A.MP4` and `a.wav`. Folders such as train, val and test directly below the root are folds; the labels are then
    the folders in them.

    Args:
        root: the corpus folder.
        classes: labels to keep, in this order; None: all sub-folders.
        speaker: regular expression whose first group, searched in the file name, is the speaker. Without it the
            speakers are unknown: the folds only balance the classes, and a note warns of it.
        normalize_labels: count labels that differ only in case and spaces as the same label.

    Raises:
        ManifestError: there are no labels or media files, or the name of the root is not valid UTF-8.
        UsageError: an unknown label, or an invalid pattern.
    """
    pattern = _compile_pattern(speaker)
    require_corpus_root(root, "one sub-folder per label")
    corpus = root.resolve().name
    if corpus != corpus.encode("utf-8", "replace").decode():
        raise ManifestError(
            f"{quoted(str(root))}: expected a folder whose name is valid UTF-8, since it names the corpus in the "
            f"manifest, got {quoted(corpus)}; rename the folder"
        )
    if not any(path.is_dir() and not path.name.startswith(".") for path in root.iterdir()):
        raise ManifestError(f"{root}: expected one sub-folder per label, got none")
    scan = scan_media(root)
    warnings = scan.warnings()
    files = list(_files(scan, warnings))
    if normalize_labels:
        spelling = common_spellings(file.label for file in files)
        files = [_File(**{**vars(file), "label": spelling[file.label]}) for file in files]
    labels = sorted({file.label for file in files})
    if not labels:
        details = "".join(f"\n{note}" for note in scan.notes())
        raise ManifestError(f"{root}: expected media files in one folder per label, got none{details}")
    wanted = select_classes(classes, labels, labels)
    warnings += [
        f"labels that differ only in case or spaces: {problem}; --normalize-labels merges them"
        for problem in spelling_problems(file.label for file in files if file.label in wanted)
    ]
    utterances: list[Utterance] = []
    names: list[str] = []
    for first, media in _paired([file for file in files if file.label in wanted], scan, warnings):
        match = pattern.search(first.name.rpartition("/")[2]) if pattern else None
        # An optional group may be empty in a name that matches.
        if pattern and not (match and match[1]):
            warnings.append(f"{first.id}: the name does not match the speaker pattern {speaker!r}; skipped")
            continue
        video = media.get("video", "")
        utterances.append(
            Utterance(
                id=first.id,
                corpus=corpus,
                label=first.label,
                speaker=match[1] if match else "",
                audio=media.get("audio", video),
                video=video,
                fold=first.fold,
            )
        )
        names.append(_without_case(first.name))
    if not utterances:
        raise ManifestError(
            f"{root}: expected media files in the folders {', '.join(wanted)}, got none{error_details(warnings)}"
        )
    name_of = {utterance.id: name for utterance, name in zip(utterances, names, strict=True)}
    kept, duplicates = drop_duplicate_ids(utterances)
    warnings += duplicates
    notes = scan.notes()
    if kept[0].fold:
        notes.append(f"folds: the folders {', '.join(sorted({row.fold for row in kept}))} of the corpus")
    else:
        groups = [row.speaker or name_of[row.id] for row in kept]
        if not pattern:
            notes.insert(
                0,
                "speakers unknown: one speaker may be in several folds; use --speaker PATTERN for speaker-independent "
                "folds",
            )
            notes += _repeated_names(kept, name_of)
        kept = stratified_folds(kept, groups)
    warnings += classes_missing_in_folds(kept, wanted)
    return ManifestResult(utterances=kept, classes=wanted, warnings=warnings, notes=notes)


def _files(scan: MediaScan, warnings: list[str]) -> Iterator[_File]:
    """The media files with their labels. Files outside of the labels' folders are left out."""
    folders = sorted(path.name for path in scan.root.iterdir() if path.is_dir() and not path.name.startswith("."))
    roles = {folder: fold_role(folder) for folder in folders}
    has_folds = "train" in roles.values() and len(set(roles.values()) - {None}) > 1
    outside: Counter[str] = Counter()
    for is_video, paths in ((True, scan.video), (False, scan.audio)):
        for path in paths:
            parts = list(path.relative_to(scan.root).with_suffix("").parts)
            fold = ""
            if has_folds:
                fold = roles.get(parts[0]) or ""
                if not fold:
                    outside[parts[0]] += 1
                    scan.leave_out(path, "outside of the folders of the folds")
                    continue
                del parts[0]
            kept = [part for part in parts if part.casefold() not in MEDIA_FOLDERS]
            # A file may itself be called audio.wav or video.mp4.
            kept = kept if len(kept) > 1 else [*kept, *parts[-1:]]
            if len(kept) < 2 or len(parts) < 2:
                scan.leave_out(path, "in no label's folder")
                continue
            label, *name = (unicodedata.normalize("NFC", part) for part in kept)
            yield _File(path=path, is_video=is_video, fold=fold, label=label, name="/".join(name))
    if outside:
        warnings.append(
            f"{', '.join(sorted(outside))}: beside folders of folds such as train and test; "
            f"{counted(sum(outside.values()), 'media file')} in them not taken"
        )


def _paired(files: Sequence[_File], scan: MediaScan, warnings: list[str]) -> Iterator[tuple[_File, Mapping[str, str]]]:
    """Each utterance with its media: "audio" and "video" to their paths relative to the root.

    Files of the same name belong together. A video and an audio file that are left alone belong together if their
    names differ only in case.
    """
    utterances: dict[str, tuple[_File, dict[str, str]]] = {}
    for file in files:
        kind = "video" if file.is_video else "audio"
        path = scan.name(file.path)
        first = utterances.setdefault(file.id, (file, {}))[1].setdefault(kind, path)
        if first != path:
            warnings.append(f"{path}: duplicate of the {kind} file {first}; skipped")
    alone: dict[str, dict[str, list[str]]] = {}
    for key, (_, media) in utterances.items():
        if len(media) == 1:
            alone.setdefault(_without_case(key), {}).setdefault(next(iter(media)), []).append(key)
    for kinds in alone.values():
        videos, audios = kinds.get("video", []), kinds.get("audio", [])
        if len(videos) == len(audios) == 1:
            utterances[videos[0]][1].update(utterances.pop(audios[0])[1])
    yield from (utterances[key] for key in sorted(utterances))


def _without_case(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())


def _repeated_names(utterances: Sequence[Utterance], name_of: Mapping[str, str]) -> list[str]:
    """A note about names that several utterances have; they may be takes of one recording or one speaker."""
    ids: dict[str, list[str]] = {}
    for utterance in utterances:
        ids.setdefault(name_of[utterance.id], []).append(utterance.id)
    repeated = [members for members in ids.values() if len(members) > 1]
    if not repeated:
        return []
    examples = "; ".join(", ".join(members) for members in repeated[:MAX_NAMED])
    return [f"names that occur more than once: {len(repeated):,}, each kept in one fold ({shortened(examples, 300)})"]


def _compile_pattern(speaker: str | None) -> re.Pattern[str] | None:
    if speaker is None:
        return None
    try:
        pattern = re.compile(speaker)
    except re.error as error:
        raise UsageError(f"--speaker: expected a regular expression, got {speaker!r} ({error})") from None
    if pattern.groups < 1:
        raise UsageError(f"--speaker: expected a pattern with a group such as '^(s[0-9]+)_', got {speaker!r}")
    return pattern
