"""EmoDB (Burkhardt et al. 2005): ten German actors, ten sentences, seven emotions; sound alone."""

import re
from collections.abc import Sequence
from pathlib import Path

from ...shared.utterance import Utterance
from ..common import ManifestResult, finished_result, select_classes
from ..media import require_corpus_root, scan_media

CLASSES = ("neu", "hap", "sad", "ang", "fea", "dis", "bor")
PUBLISHED = 535
_EMOTIONS = {"N": "neu", "F": "hap", "T": "sad", "W": "ang", "A": "fea", "E": "dis", "L": "bor"}
_MALE = frozenset({"03", "10", "11", "12", "15"})
_NAME = re.compile(r"(03|08|09|1[0-6])([ab]\d{2})([NFTWAEL])([a-z]?)")
EXAMPLE = "03a01Fa.wav"


def build(root: Path, classes: Sequence[str] | None = None) -> ManifestResult:
    """Build the manifest from the clips `<speaker><sentence><emotion><take>.wav` below the root.

    The letters are the first ones of the German words: Neutral, Freude, Trauer, Wut (anger), Angst (fear), Ekel
    (disgust), Langeweile (boredom).

    Args:
        root: the corpus folder.
        classes: labels to keep, in this order; None: all seven.

    Raises:
        ManifestError: there is no such clip.
        UsageError: EmoDB has no such label.
    """
    wanted = select_classes(classes, CLASSES, CLASSES)
    scan = scan_media(require_corpus_root(root, f"the clips of EmoDB (wav/{EXAMPLE})"))
    warnings = scan.warnings()
    utterances = []
    for path in [*scan.audio, *scan.video]:
        match = _NAME.fullmatch(path.stem)
        if match is None:
            warnings.append(f"{scan.name(path)}: expected a name such as {EXAMPLE}; skipped")
            continue
        utterances.append(
            Utterance(
                id=path.stem,
                corpus="emodb",
                speaker=match[1],
                gender="M" if match[1] in _MALE else "F",
                label=_EMOTIONS[match[3]],
                audio=scan.name(path),
            )
        )
    return finished_result(scan, utterances, wanted, warnings, example=EXAMPLE, published=PUBLISHED)
