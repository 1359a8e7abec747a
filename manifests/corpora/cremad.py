"""CREMA-D (Cao et al. 2014): 91 actors, twelve sentences, six emotions; a sound and a picture file per clip."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from ...shared.errors import ManifestError
from ...shared.utterance import Utterance
from ..common import ManifestResult, drop_duplicate_ids, error_details, modality_notes, select_classes
from ..folds import folds_by_speaker
from ..media import require_corpus_root, scan_media

CLASSES = ("neu", "hap", "sad", "ang", "fea", "dis")
_NAME = re.compile(r"(\d{4})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_([A-Z]{2})")


def build(root: Path, classes: Sequence[str] | None = None) -> ManifestResult:
    """Build the manifest from the clips `<actor>_<sentence>_<EMOTION>_<level>` below the root.

    The audio comes from the file of the same name in AudioWAV, if it exists, else from the video. A clip without one of
    the two keeps the other.

    Args:
        root: the corpus folder.
        classes: labels to keep, in this order; None: all six.

    Raises:
        ManifestError: there is no such clip.
        UsageError: CREMA-D has no such label.
    """
    wanted = select_classes(classes, CLASSES, CLASSES)
    scan = scan_media(require_corpus_root(root, "the clips of CREMA-D (VideoFlash/*.flv, AudioWAV/*.wav)"))
    genders = _read_genders(root)
    warnings = scan.warnings()
    audio_of: dict[str, Path] = {}
    # WAV is the original; AudioMP3 holds the same clips.
    for path in sorted(scan.audio, key=lambda path: path.suffix.lower() != ".wav"):
        if _NAME.fullmatch(path.stem) is None:
            warnings.append(f"{scan.name(path)}: expected a name such as 1001_DFA_ANG_XX.wav; skipped")
        elif audio_of.setdefault(path.stem, path) != path:
            scan.leave_out(path, "another file has the sound of the same clip")
    clips: list[tuple[str, str, str]] = []
    for path in scan.video:
        video = scan.name(path)
        if _NAME.fullmatch(path.stem) is None:
            warnings.append(f"{video}: expected a name such as 1001_DFA_ANG_XX.flv; skipped")
        else:
            clips.append((path.stem, scan.name(audio_of.get(path.stem, path)), video))
    seen = {stem for stem, _, _ in clips}
    clips += [(stem, scan.name(path), "") for stem, path in sorted(audio_of.items()) if stem not in seen]
    utterances = []
    for stem, audio, video in clips:
        actor, _, emotion, _ = stem.split("_")
        if emotion.lower() in wanted:
            utterances.append(
                Utterance(
                    id=stem,
                    corpus="crema-d",
                    speaker=actor,
                    gender=genders.get(actor, ""),
                    label=emotion.lower(),
                    audio=audio,
                    video=video,
                )
            )
    if not utterances:
        raise ManifestError(
            f"{root}: expected clips named like 1001_DFA_ANG_XX.flv or .wav, got none with the "
            f"labels {', '.join(wanted)}"
            f"{error_details(warnings)}"
        )
    kept, duplicates = drop_duplicate_ids(utterances)
    return ManifestResult(
        utterances=folds_by_speaker(kept),
        classes=wanted,
        warnings=warnings + duplicates,
        notes=[*modality_notes(kept), *scan.notes()],
    )


def _read_genders(root: Path) -> dict[str, str]:
    """Actor to F or M, from the corpus' VideoDemographics.csv, if it exists."""
    for path in root.rglob("VideoDemographics.csv"):
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            return {row.get("ActorID", ""): (row.get("Sex") or "")[:1].upper() for row in csv.DictReader(file)}
    return {}
