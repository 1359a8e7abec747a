"""SAVEE (Haq & Jackson 2009): four English men, 120 sentences each, seven emotions; sound, or sound and picture."""

import re
from collections.abc import Sequence
from pathlib import Path

from ...shared.utterance import Utterance
from ..common import ManifestResult, finished_result, select_classes
from ..media import AUDIO_SUFFIXES, require_corpus_root, scan_media

CLASSES = ("neu", "hap", "sad", "ang", "fea", "dis", "sur")
SPEAKERS = ("DC", "JE", "JK", "KL")
PUBLISHED = 480
_EMOTIONS = {"n": "neu", "h": "hap", "sa": "sad", "a": "ang", "f": "fea", "d": "dis", "su": "sur"}
_NAME = re.compile(r"(?:(DC|JE|JK|KL)_)?((sa|su|[nhafd])(\d{2}))", re.IGNORECASE)
EXAMPLE = "DC/a01.wav"


def build(root: Path, classes: Sequence[str] | None = None) -> ManifestResult:
    """Build the manifest from the clips `<speaker>/<emotion><number>` or `<speaker>_<emotion><number>` below the root.

    AudioVisualClip (`.avi`) and AudioData (`.wav`) of a clip are one utterance, whose sound is the WAV file.

    Args:
        root: the corpus folder.
        classes: labels to keep, in this order; None: all seven.

    Raises:
        ManifestError: there is no such clip.
        UsageError: SAVEE has no such label.
    """
    wanted = select_classes(classes, CLASSES, CLASSES)
    scan = scan_media(require_corpus_root(root, f"the clips of SAVEE ({EXAMPLE} or DC_a01.wav)"))
    warnings = scan.warnings()
    clips: dict[tuple[str, str], dict[str, str]] = {}
    for path in [*scan.video, *scan.audio]:
        match = _NAME.fullmatch(path.stem)
        folders = [part.upper() for part in path.relative_to(root).parts[:-1]]
        speaker = (match and match[1]) or next((part for part in reversed(folders) if part in SPEAKERS), "")
        if match is None or not speaker:
            warnings.append(f"{scan.name(path)}: expected a name such as {EXAMPLE} or DC_a01.wav; skipped")
            continue
        kind = "audio" if path.suffix.lower() in AUDIO_SUFFIXES else "video"
        name = scan.name(path)
        first = clips.setdefault((speaker.upper(), match[2].lower()), {}).setdefault(kind, name)
        if first != name:
            scan.leave_out(path, "another file holds the same clip")
    utterances = [
        Utterance(
            id=f"{speaker}_{clip}",
            corpus="savee",
            speaker=speaker,
            gender="M",
            label=_EMOTIONS[clip[:-2]],
            audio=files.get("audio") or files.get("video", ""),
            video=files.get("video", ""),
        )
        for (speaker, clip), files in sorted(clips.items())
    ]
    return finished_result(scan, utterances, wanted, warnings, example=EXAMPLE, published=PUBLISHED)
