"""RAVDESS (Livingstone & Russo 2018): 24 actors, two sentences, eight emotions; up to three files per clip.

The first number of a name is the modality: 01 sound and picture, 02 picture alone, 03 sound alone. They are cut from
one recording, and the rest of the name is the clip.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...shared.errors import ManifestError
from ...shared.utterance import Utterance
from ..common import ManifestResult, drop_duplicate_ids, error_details, modality_notes, select_classes
from ..folds import folds_by_speaker
from ..media import MediaScan, require_corpus_root, scan_media

CLASSES = ("neu", "cal", "hap", "sad", "ang", "fea", "dis", "sur")
AUDIO_VIDEO, VIDEO_ONLY, AUDIO_ONLY = "01", "02", "03"
SPEECH = "01"
_NAME = re.compile(r"(0[1-3])-((0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4]))")


def build(root: Path, classes: Sequence[str] | None = None) -> ManifestResult:
    """Build the manifest from the spoken clips below the root: `01-01-*.mp4`, `03-01-*.wav`, or both.

    The sound comes from the file of sound alone (03), if there is one, else from the video. A clip without one of the
    two keeps the other. Songs are left out.

    Args:
        root: the corpus folder.
        classes: labels to keep, in this order; None: all eight.

    Raises:
        ManifestError: there is no such clip.
        UsageError: RAVDESS has no such label.
    """
    wanted = select_classes(classes, CLASSES, CLASSES)
    scan = scan_media(require_corpus_root(root, "the clips of RAVDESS (Actor_01/*.mp4 or *.wav)"))
    warnings = scan.warnings()
    clips = _clips(scan, warnings)
    utterances = []
    for clip, files in clips.items():
        _, emotion, *_, actor = clip.split("-")
        label = CLASSES[int(emotion) - 1]
        if label not in wanted:
            continue
        video = files.get(AUDIO_VIDEO) or files.get(VIDEO_ONLY) or ""
        audio = files.get(AUDIO_ONLY) or files.get(AUDIO_VIDEO) or ""
        if AUDIO_VIDEO in files and VIDEO_ONLY in files:
            scan.leave_out(Path(files[VIDEO_ONLY]), "the picture is in the file with sound, too")
        utterances.append(
            Utterance(
                id=Path(files.get(AUDIO_VIDEO) or files.get(AUDIO_ONLY) or video).stem,
                corpus="ravdess",
                speaker=f"actor{actor}",
                gender="M" if int(actor) % 2 else "F",
                label=label,
                audio=audio,
                video=video,
            )
        )
    if not utterances:
        details = "".join(f"\n{note}" for note in scan.notes()) + error_details(warnings)
        raise ManifestError(
            f"{root}: expected clips named like 01-01-05-01-02-01-16.mp4 or 03-01-05-01-02-01-16.wav, got none "
            f"with the labels {', '.join(wanted)}{details}"
        )
    kept, duplicates = drop_duplicate_ids(utterances)
    return ManifestResult(
        utterances=folds_by_speaker(sorted(kept, key=lambda row: row.audio or row.video)),
        classes=wanted,
        warnings=warnings + duplicates,
        notes=[*modality_notes(kept), *scan.notes()],
    )


def _clips(scan: MediaScan, warnings: list[str]) -> Mapping[str, Mapping[str, str]]:
    """The spoken clips by the name without the modality: modality to the path of its file."""
    clips: dict[str, dict[str, str]] = {}
    for is_video, paths in ((True, scan.video), (False, scan.audio)):
        for path in paths:
            match = _NAME.fullmatch(path.stem)
            name = scan.name(path)
            if match is None:
                example = "01-01-05-01-02-01-16.mp4" if is_video else "03-01-05-01-02-01-16.wav"
                warnings.append(f"{name}: expected a name such as {example}; skipped")
                continue
            # Sound that was extracted from the video keeps the video's name.
            modality = match[1] if is_video else AUDIO_ONLY
            if match[3] != SPEECH:
                scan.leave_out(path, "songs")
                continue
            first = clips.setdefault(match[2], {}).setdefault(modality, name)
            if first != name:
                warnings.append(f"{name}: repeats the clip {first}; skipped")
    return clips
