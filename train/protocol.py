"""Who is trained on, who chooses the epoch, and who is tested: nested leave-one-group-out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..shared.errors import TrainingError


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One of K folds, numbered from 1: the groups tested and used for early stopping, and rows (CPU, int64) of each."""

    number: int
    test: str
    dev: str
    train_rows: Tensor
    dev_rows: Tensor
    test_rows: Tensor


def loso_nested(groups: Sequence[str]) -> list[Fold]:
    """Leave one group out, another one of the rest decides when to stop: test k, development k mod K + 1.

    `groups` (n) names each utterance's session or fold; they rotate in natural order. Every test group is looked at
    once, and chooses nothing. Raises TrainingError for fewer than three groups.
    """
    names = sorted(set(groups), key=natural_key)
    if len(names) < 3:
        raise TrainingError(
            "expected at least three sessions or folds (one to test, one to stop early, the rest to train), "
            f"got {len(names)}: {', '.join(names)}"
        )
    number = {name: i for i, name in enumerate(names)}
    group = torch.tensor([number[name] for name in groups])
    folds = []
    for test, name in enumerate(names):
        dev = (test + 1) % len(names)
        folds.append(
            Fold(
                number=test + 1, test=name, dev=names[dev],
                train_rows=((group != test) & (group != dev)).nonzero().squeeze(1),
                dev_rows=(group == dev).nonzero().squeeze(1),
                test_rows=(group == test).nonzero().squeeze(1),
            )
        )  # fmt: skip
    return folds


def check_classes(folds: Sequence[Fold], labels: Tensor, classes: Sequence[str]) -> None:
    """Raises TrainingError that names the fold and the class nobody could learn there; labels (n,) on the CPU."""
    for fold in folds:
        counts = torch.bincount(labels[fold.train_rows], minlength=len(classes))
        if missing := [name for name, count in zip(classes, counts, strict=True) if count == 0]:
            raise TrainingError(
                f"fold {fold.number} (test {fold.test}, development {fold.dev}): expected training utterances of "
                f"every class, got none of {', '.join(missing)}; leave the class out, or cut the folds otherwise"
            )


def speakers_in_several(groups: Sequence[str], speakers: Sequence[str]) -> list[str]:
    """The speakers that occur in more than one group: with any, the results are not speaker-independent."""
    seen: dict[str, set[str]] = {}
    for group, speaker in zip(groups, speakers, strict=True):
        seen.setdefault(speaker, set()).add(group)
    return sorted((speaker for speaker, where in seen.items() if len(where) > 1), key=natural_key)


def natural_key(text: str) -> list[str | int]:
    """Sorts session2 before session10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", text)]
