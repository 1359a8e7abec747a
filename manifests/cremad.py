"""CREMA-D (Cao et al. 2014): 91 actors, twelve sentences, six emotions; one file per clip."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from ..shared.errors import ManifestError
from ..shared.utterance import Utterance
from .common import (
    AUDIO_SUFFIXES,
    VIDEO_SUFFIXES,
    ManifestResult,
    drop_duplicate_ids,
    error_details,
    folds_by_speaker,
    media_files,
    require_corpus_root,
    select_classes,
)

CLASSES = ("neu", "hap", "sad", "ang", "fea", "dis")
_NAME = re.compile(r"(\d{4})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_([A-Z]{2})")


def build(root: Path, classes: Sequence[str] | None = None) -> ManifestResult:
    """Build the manifest from the videos `<actor>_<sentence>_<EMOTION>_<level>` below the root.

    The audio comes from the file of the same name in AudioWAV, if it exists, else from the video.

    Args:
        root: the corpus folder.
        classes: labels to keep, in this order; None: all six.

    Raises:
        ManifestError: there is no such clip.
        UsageError: CREMA-D has no such label.
    """
    wanted = select_classes(classes, CLASSES, CLASSES)
    require_corpus_root(root, "the clips of CREMA-D (VideoFlash/*.flv)")
    audio_files = {path.stem: path for path in media_files(root, AUDIO_SUFFIXES)}
    genders = _read_genders(root)
    utterances: list[Utterance] = []
    warnings: list[str] = []
    for path in media_files(root, VIDEO_SUFFIXES):
        match = _NAME.fullmatch(path.stem)
        video = path.relative_to(root).as_posix()
        if match is None:
            warnings.append(f"{video}: expected a name such as 1001_DFA_ANG_XX.flv; skipped")
            continue
        actor = match[1]
        label = match[3].lower()
        if label in wanted:
            utterances.append(
                Utterance(
                    id=path.stem,
                    corpus="crema-d",
                    speaker=actor,
                    gender=genders.get(actor, ""),
                    label=label,
                    audio=audio_files.get(path.stem, path).relative_to(root).as_posix(),
                    video=video,
                )
            )
    if not utterances:
        raise ManifestError(
            f"{root}: expected clips named like 1001_DFA_ANG_XX.flv, got none of {wanted}{error_details(warnings)}"
        )
    kept, duplicates = drop_duplicate_ids(utterances)
    return ManifestResult(utterances=folds_by_speaker(kept), classes=wanted, warnings=warnings + duplicates)


def _read_genders(root: Path) -> dict[str, str]:
    """Actor to F or M, from the corpus' VideoDemographics.csv, if it exists."""
    for path in root.rglob("VideoDemographics.csv"):
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            return {row.get("ActorID", ""): (row.get("Sex") or "")[:1].upper() for row in csv.DictReader(file)}
    return {}
