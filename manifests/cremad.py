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
    Built,
    chosen_classes,
    existing_root,
    folds_by_speaker,
    media_files,
)
from .common import unique as unique_ids

CLASSES = ("neu", "hap", "sad", "ang", "fea", "dis")
_NAME = re.compile(r"(\d{4})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_([A-Z]{2})")


def build(root: Path, classes: Sequence[str] | None = None) -> Built:
    """Find `<actor>_<sentence>_<EMOTION>_<level>` videos below root; the sound is AudioWAV's or the video's.

    Raises ManifestError if there is no such file, UsageError for a label that CREMA-D does not have.
    """
    wanted = chosen_classes(classes, CLASSES, CLASSES)
    existing_root(root, "the clips of CREMA-D (VideoFlash/*.flv)")
    sounds = {path.stem: path for path in media_files(root, AUDIO_SUFFIXES)}
    genders = _genders(root)
    utterances: list[Utterance] = []
    problems: list[str] = []
    for path in media_files(root, VIDEO_SUFFIXES):
        match = _NAME.fullmatch(path.stem)
        video = path.relative_to(root).as_posix()
        if match is None:
            problems.append(f"{video}: expected a name such as 1001_DFA_ANG_XX.flv; left out")
            continue
        actor, label = match[1], match[3].lower()
        if label in wanted:
            utterances.append(
                Utterance(
                    id=path.stem,
                    corpus="crema-d",
                    speaker=actor,
                    gender=genders.get(actor, ""),
                    label=label,
                    audio=sounds.get(path.stem, path).relative_to(root).as_posix(),
                    video=video,
                )
            )
    if not utterances:
        detail = "".join(f"\n{problem}" for problem in problems[:5])
        raise ManifestError(f"{root}: expected clips named like 1001_DFA_ANG_XX.flv, got none of {wanted}{detail}")
    kept, twins = unique_ids(utterances)
    return Built(utterances=folds_by_speaker(kept), classes=wanted, problems=problems + twins)


def _genders(root: Path) -> dict[str, str]:
    """Actor to F or M, from the corpus' own VideoDemographics.csv where it lies beside the clips."""
    for path in root.rglob("VideoDemographics.csv"):
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            return {row.get("ActorID", ""): (row.get("Sex") or "")[:1].upper() for row in csv.DictReader(file)}
    return {}
