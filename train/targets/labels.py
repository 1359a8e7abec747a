"""Labels of a dataset: whether they look like classes, and what is left out."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ...shared.errors import TrainingError
from ...shared.labels import label_question, spelling_problems
from ...shared.utterance import Utterance


def check_labels(path: Path, labels: Sequence[str]) -> None:
    """Raise TrainingError if the labels are probably no classes."""
    if question := label_question(Counter(labels)):
        raise TrainingError(
            f"{path}: {question}. Are these classes? If so, go on with --accept-labels (key train.accept_labels); if "
            "not, put the names of the classes into the column label of the manifest, and run `foal index` again"
        )


def label_warnings(utterances: Sequence[Utterance], classes: Sequence[str]) -> list[str]:
    """Warnings about utterances that are left out, and about labels that differ only in case or spaces."""
    warnings = []
    if missing := sum(not utterance.label for utterance in utterances):
        warnings.append(f"{missing} of {len(utterances)} utterances left out: they have no label")
    if others := sorted({u.label for u in utterances if u.label} - set(classes)):
        count = sum(utterance.label in others for utterance in utterances)
        warnings.append(f"{count} of {len(utterances)} utterances left out: their label is {', '.join(others)}")
    warnings += [
        f"labels that differ only in case or spaces: {problem}; --normalize-labels merges them"
        for problem in spelling_problems(utterance.label for utterance in utterances)
    ]
    return warnings
