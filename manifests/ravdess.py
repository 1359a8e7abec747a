"""RAVDESS (Livingstone & Russo 2018): 24 actors, two sentences, eight emotions; one file per clip."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..shared.errors import ManifestError
from ..shared.utterance import Utterance
from .common import (
    VIDEO_SUFFIXES,
    ManifestResult,
    drop_duplicate_ids,
    error_details,
    folds_by_speaker,
    media_files,
    require_corpus_root,
    select_classes,
)

CLASSES = ("neu", "cal", "hap", "sad", "ang", "fea", "dis", "sur")
AUDIO_VIDEO = "01"
SPEECH = "01"
_NAME = re.compile(r"(0[1-3])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])")


def build(root: Path, classes: Sequence[str] | None = None) -> ManifestResult:
    """Build the manifest from the spoken clips with audio and video (`01-01-*.mp4`) below the root.

    Songs and clips without audio are skipped.

    Args:
        root: the corpus folder.
        classes: labels to keep, in this order; None: all eight.

    Raises:
        ManifestError: there is no such clip.
        UsageError: RAVDESS has no such label.
    """
    wanted = select_classes(classes, CLASSES, CLASSES)
    utterances: list[Utterance] = []
    warnings: list[str] = []
    skipped: Counter[str] = Counter()
    for path in media_files(require_corpus_root(root, "the clips of RAVDESS (Actor_01/*.mp4)"), VIDEO_SUFFIXES):
        match = _NAME.fullmatch(path.stem)
        video = path.relative_to(root).as_posix()
        if match is None:
            warnings.append(f"{video}: expected a name such as 01-01-05-01-02-01-16.mp4; skipped")
            continue
        modality, channel, emotion, *_, actor = match.groups()
        label = CLASSES[int(emotion) - 1]
        if modality != AUDIO_VIDEO:
            skipped["no audio"] += 1
        elif channel != SPEECH:
            skipped["songs"] += 1
        elif label in wanted:
            utterances.append(
                Utterance(
                    id=path.stem,
                    corpus="ravdess",
                    speaker=f"actor{actor}",
                    gender="M" if int(actor) % 2 else "F",
                    label=label,
                    audio=video,
                    video=video,
                )
            )
    notes = [f"{count} file{'s' * (count != 1)} skipped: {reason}" for reason, count in skipped.items()]
    if not utterances:
        details = "".join(f"\n{note}" for note in notes) + error_details(warnings)
        raise ManifestError(
            f"{root}: expected clips named like 01-01-05-01-02-01-16.mp4, got none of {wanted}{details}"
        )
    kept, duplicates = drop_duplicate_ids(utterances)
    return ManifestResult(
        utterances=folds_by_speaker(kept), classes=wanted, warnings=warnings + duplicates, notes=notes
    )
