"""Any corpus with one sub-folder per label."""

import re
from collections.abc import Sequence
from pathlib import Path

from ..shared.errors import ManifestError, UsageError
from ..shared.text import quoted
from ..shared.utterance import Utterance
from .common import (
    AUDIO_SUFFIXES,
    VIDEO_SUFFIXES,
    ManifestResult,
    drop_duplicate_ids,
    error_details,
    folds_by_class,
    folds_by_speaker,
    media_files,
    require_corpus_root,
    select_classes,
)


def build(root: Path, classes: Sequence[str] | None = None, *, speaker: str | None = None) -> ManifestResult:
    """Build the manifest with one utterance per media file below `<root>/<label>/`.

    `a.wav` next to `a.mp4` is the audio of that video.

    Args:
        root: the corpus folder.
        classes: labels to keep, in this order; None: all sub-folders.
        speaker: regular expression whose first group, searched in the file name, is the speaker. Without it the
            speakers are unknown: the folds only balance the classes, and a note warns of it.

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
    labels = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not labels:
        raise ManifestError(f"{root}: expected one sub-folder per label, got none")
    wanted = select_classes(classes, labels, labels)
    utterances: list[Utterance] = []
    warnings: list[str] = []
    for label in wanted:
        for stem, media in _media_by_stem(root, label, warnings).items():
            match = pattern.search(stem.name) if pattern else None
            # An optional group may be empty in a name that matches.
            if pattern and not (match and match[1]):
                warnings.append(
                    f"{stem.relative_to(root)}: the name does not match the speaker pattern {speaker!r}; skipped"
                )
                continue
            video = media.get("video", "")
            utterances.append(
                Utterance(
                    id=stem.relative_to(root).as_posix(),
                    corpus=corpus,
                    label=label,
                    speaker=match[1] if match else "",
                    audio=media.get("audio", video),
                    video=video,
                )
            )
    if not utterances:
        raise ManifestError(
            f"{root}: expected media files in the folders {', '.join(wanted)}, got none{error_details(warnings)}"
        )
    kept, duplicates = drop_duplicate_ids(utterances)
    if pattern:
        return ManifestResult(utterances=folds_by_speaker(kept), classes=wanted, warnings=warnings + duplicates)
    note = "speakers unknown: one speaker may be in several folds; use --speaker PATTERN for speaker-independent folds"
    return ManifestResult(utterances=folds_by_class(kept), classes=wanted, warnings=warnings + duplicates, notes=[note])


def _media_by_stem(root: Path, label: str, warnings: list[str]) -> dict[Path, dict[str, str]]:
    """The media of each path without suffix: "audio" and "video" to their paths relative to the root."""
    media: dict[Path, dict[str, str]] = {}
    for path in media_files(root / label, AUDIO_SUFFIXES | VIDEO_SUFFIXES):
        kind = "video" if path.suffix.lower() in VIDEO_SUFFIXES else "audio"
        name = path.relative_to(root).as_posix()
        first = media.setdefault(path.with_suffix(""), {}).setdefault(kind, name)
        if first != name:
            warnings.append(f"{name}: duplicate of the {kind} file {first}; skipped")
    return media


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
