"""Folds for corpora that come without any: by speaker, by class, or by both."""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ..shared.utterance import Utterance

NUM_FOLDS = 5
SEED = 0


def folds_by_speaker(utterances: Sequence[Utterance], count: int = NUM_FOLDS) -> list[Utterance]:
    """Assign speaker-independent folds: the speaker with the most utterances goes to the emptiest fold."""
    sizes = Counter(utterance.speaker for utterance in utterances)
    filled = [0] * min(count, len(sizes))
    fold_of: dict[str, str] = {}
    for speaker, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        emptiest = filled.index(min(filled))
        fold_of[speaker] = f"fold{emptiest + 1}"
        filled[emptiest] += size
    return [replace(utterance, fold=fold_of[utterance.speaker]) for utterance in utterances]


def folds_by_class(utterances: Sequence[Utterance], count: int = NUM_FOLDS) -> list[Utterance]:
    """Assign folds with equal shares of each class, for corpora without speakers."""
    assigned: Counter[str] = Counter()
    folded = []
    for utterance in utterances:
        folded.append(replace(utterance, fold=f"fold{assigned[utterance.label] % count + 1}"))
        assigned[utterance.label] += 1
    return folded


def stratified_folds(utterances: Sequence[Utterance], groups: Sequence[str], count: int = NUM_FOLDS) -> list[Utterance]:
    """Assign folds that keep each group together and have equal shares of each class, as far as that is possible.

    The same utterances give the same folds (scikit-learn's StratifiedGroupKFold with a fixed seed).

    Args:
        utterances: the utterances, n.
        groups: group of each utterance, such as its speaker, n.
        count: number of folds; fewer, if there are fewer groups or every class is smaller.
    """
    if len(set(groups)) == len(groups):
        return folds_by_class(utterances, count)
    labels = [utterance.label for utterance in utterances]
    count = min(count, len(set(groups)), max(Counter(labels).values()))
    if count < 2:
        return [replace(utterance, fold="fold1") for utterance in utterances]
    # Imported late: it takes a second.
    from sklearn.model_selection import StratifiedGroupKFold

    folds = [0] * len(utterances)
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=SEED)
    with warnings.catch_warnings():
        # Small classes are reported by classes_missing_in_folds.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for number, (_, rows) in enumerate(splitter.split(labels, labels, groups)):
            for row in rows:
                folds[row] = number
    # A fold may get no group.
    numbers = {fold: number for number, fold in enumerate(sorted(set(folds)), start=1)}
    return [replace(utterance, fold=f"fold{numbers[fold]}") for utterance, fold in zip(utterances, folds, strict=True)]


def classes_missing_in_folds(utterances: Sequence[Utterance], classes: Sequence[str]) -> list[str]:
    """One warning for each fold without utterances of some class; its scores leave that class out."""
    present: dict[str, set[str]] = {}
    for utterance in utterances:
        present.setdefault(utterance.fold, set()).add(utterance.label)
    problems = []
    for fold, labels in sorted(present.items()):
        if missing := [label for label in classes if label not in labels]:
            problems.append(f"{fold}: has no utterance of {', '.join(missing)}; its scores leave them out")
    return problems
