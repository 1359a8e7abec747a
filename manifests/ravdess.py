"""RAVDESS (Livingstone & Russo 2018): 24 actors, two sentences, eight emotions; one file per clip."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..shared.errors import ManifestError
from ..shared.utterance import Utterance
from .common import VIDEO_SUFFIXES, Built, chosen_classes, existing_root, folds_by_speaker, media_files, unique

CLASSES = ("neu", "cal", "hap", "sad", "ang", "fea", "dis", "sur")
_NAME = re.compile(r"(0[1-3])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])")
AUDIO_VIDEO, SPEECH = "01", "01"


def build(root: Path, classes: Sequence[str] | None = None) -> Built:
    """Find the spoken clips with sound and picture (`01-01-*.mp4`) below root; songs and single streams are left out.

    Raises ManifestError if there is none, UsageError for a label that RAVDESS does not have.
    """
    wanted = chosen_classes(classes, CLASSES, CLASSES)
    utterances: list[Utterance] = []
    problems: list[str] = []
    left_out: Counter[str] = Counter()
    for path in media_files(existing_root(root, "the clips of RAVDESS (Actor_01/*.mp4)"), VIDEO_SUFFIXES):
        match = _NAME.fullmatch(path.stem)
        video = path.relative_to(root).as_posix()
        if match is None:
            problems.append(f"{video}: expected a name such as 01-01-05-01-02-01-16.mp4; left out")
            continue
        modality, channel, emotion, *_, actor = match.groups()
        label = CLASSES[int(emotion) - 1]
        if modality != AUDIO_VIDEO:
            left_out["without sound"] += 1
        elif channel != SPEECH:
            left_out["songs"] += 1
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
    remarks = [f"{count} files left out: {what}" for what, count in left_out.items()]
    if not utterances:
        detail = "".join(f"\n{line}" for line in [*remarks, *problems[:5]])
        raise ManifestError(f"{root}: expected clips named like 01-01-05-01-02-01-16.mp4, got none of {wanted}{detail}")
    kept, twins = unique(utterances)
    return Built(utterances=folds_by_speaker(kept), classes=wanted, problems=problems + twins, remarks=remarks)
