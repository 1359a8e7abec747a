"""Any corpus laid out as one sub-folder per label."""

import re
from collections.abc import Sequence
from pathlib import Path

from ..shared.errors import ManifestError, UsageError
from ..shared.text import quoted
from ..shared.utterance import Utterance
from .common import (
    AUDIO_SUFFIXES,
    VIDEO_SUFFIXES,
    Built,
    chosen_classes,
    existing_root,
    folds_by_class,
    folds_by_speaker,
    media_files,
    unique,
)


def build(root: Path, classes: Sequence[str] | None = None, *, speaker: str | None = None) -> Built:
    """One utterance per media file below `<root>/<label>/`; `a.wav` beside `a.mp4` is the sound of that video.

    `speaker` is a regular expression whose first group, found in the file's name, is the speaker. Without it nobody
    knows the speakers: the folds then only balance the classes, and a remark says so.
    """
    pattern = _compiled(speaker)
    existing_root(root, "one sub-folder per label")
    corpus = root.resolve().name
    if corpus != corpus.encode("utf-8", "replace").decode():
        raise ManifestError(
            f"{quoted(str(root))}: expected a folder whose name is valid UTF-8, since it is the corpus' name in the "
            f"manifest, got {quoted(corpus)}; rename it"
        )
    labels = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not labels:
        raise ManifestError(f"{root}: expected one sub-folder per label, got none")
    wanted = chosen_classes(classes, labels, labels)
    utterances: list[Utterance] = []
    problems: list[str] = []
    for label in wanted:
        media: dict[Path, dict[str, str]] = {}
        for path in media_files(root / label, AUDIO_SUFFIXES | VIDEO_SUFFIXES):
            kind = "video" if path.suffix.lower() in VIDEO_SUFFIXES else "audio"
            name = path.relative_to(root).as_posix()
            first = media.setdefault(path.with_suffix(""), {}).setdefault(kind, name)
            if first != name:
                problems.append(f"{name}: a second {kind} file beside {first}; left out")
        for stem, found in media.items():
            match = pattern.search(stem.name) if pattern else None
            # An optional group may find nothing in a name that matches.
            if pattern and not (match and match[1]):
                problems.append(f"{stem.relative_to(root)}: no speaker found by {speaker!r}; left out")
                continue
            video = found.get("video", "")
            utterances.append(
                Utterance(
                    id=stem.relative_to(root).as_posix(),
                    corpus=corpus,
                    label=label,
                    speaker=match[1] if match else "",
                    audio=found.get("audio", video),
                    video=video,
                )
            )
    if not utterances:
        detail = "".join(f"\n{problem}" for problem in problems[:5])
        raise ManifestError(f"{root}: expected media files in the folders {', '.join(wanted)}, got none{detail}")
    kept, twins = unique(utterances)
    if pattern:
        return Built(utterances=folds_by_speaker(kept), classes=wanted, problems=problems + twins)
    remark = "speakers unknown: a speaker may stand in several folds; give --speaker PATTERN to keep them apart"
    return Built(utterances=folds_by_class(kept), classes=wanted, problems=problems + twins, remarks=[remark])


def _compiled(speaker: str | None) -> re.Pattern[str] | None:
    if speaker is None:
        return None
    try:
        pattern = re.compile(speaker)
    except re.error as error:
        raise UsageError(f"--speaker: expected a regular expression, got {speaker!r} ({error})") from None
    if pattern.groups < 1:
        raise UsageError(f"--speaker: expected a pattern with a group such as '^(s[0-9]+)_', got {speaker!r}")
    return pattern
