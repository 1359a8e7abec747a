"""The targets of utterances: rows that have them, ratings and soft labels as tables.

Targets are named as in `train.target`: label or soft, and the dimensions valence, arousal and dominance.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ...shared.config.train_settings import SOFT, TrainSettings
from ...shared.errors import TrainingError
from ...shared.soft_labels import SHARE_PREFIX, share_classes
from ...shared.text import counted, quoted
from ...shared.utterance import Utterance


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What n utterances have besides one class each.

    Attributes:
        dimensions: rated dimensions to predict, k.
        ratings: ratings, (n, k) float32, NaN where there is none (None: no dimensions).
        shares: soft labels, (n, c) float32, rows sum to 1 (None: classes are trained on).
    """

    dimensions: tuple[str, ...] = ()
    ratings: Tensor | None = None
    shares: Tensor | None = None

    def of(self, rows: Tensor, device: torch.device) -> dict[str, Tensor | None]:
        """The ratings (b, k) and shares (b, c) of some rows, (b,)."""
        tables = {"ratings": self.ratings, "shares": self.shares}
        return {name: None if table is None else table[rows].to(device) for name, table in tables.items()}


def rating_rows(path: Path, settings: TrainSettings, utterances: Sequence[Utterance]) -> list[int]:
    """The utterances with a rating of at least one of the dimensions. Raises TrainingError for an empty column."""
    check_rated(path, settings, utterances)
    return [
        row
        for row, utterance in enumerate(utterances)
        if any(getattr(utterance, name) is not None for name in settings.dimensions)
    ]


def check_rated(path: Path, settings: TrainSettings, utterances: Sequence[Utterance]) -> None:
    """Raise TrainingError if none of the utterances has a rating of one of the dimensions."""
    for name in settings.dimensions:
        if all(getattr(utterance, name) is None for utterance in utterances):
            raise TrainingError(
                f"{path}: expected ratings in the column {name} (train.target), got empty cells in all "
                f"{counted(len(utterances), 'utterance')}; fill the column of the manifest and run `foal index` "
                f"again, or leave {name} out"
            )


def soft_classes(path: Path, classes: Sequence[str] | None, utterances: Sequence[Utterance]) -> tuple[str, ...]:
    """The classes of soft labels: the given ones, else those of the column label, else those of the shares.

    Raises TrainingError if there are no soft labels, or a column `label_NAME` names no class.
    """
    named = share_classes(utterance.shares for utterance in utterances)
    if not named:
        raise TrainingError(
            f"{path}: train.target soft needs columns {SHARE_PREFIX}NAME with the share of each class, got none; add "
            "them to the manifest and run `foal index` again, or train on label"
        )
    labels = sorted({utterance.label for utterance in utterances if utterance.label})
    chosen = tuple(classes) if classes else tuple(labels or sorted(named))
    if unknown := [name for name in named if name not in chosen and name not in labels]:
        first = next(u.id for u in utterances if unknown[0] in dict(u.shares))
        raise TrainingError(
            f"{path}: the column {SHARE_PREFIX}{unknown[0]} (id {quoted(first)}) names no class; expected "
            f"{', '.join(chosen)}; rename or remove the column, or add the class to corpus.classes"
        )
    return chosen


def soft_labelled(utterances: Sequence[Utterance], classes: Sequence[str]) -> list[Utterance]:
    """The utterances with the class that they are scored against: the label, else the class of the largest share.

    Of equal shares the first class counts. The label remains empty without both.
    """
    labelled = []
    for utterance in utterances:
        shares = dict(utterance.shares)
        best = max(classes, key=lambda name: shares.get(name, 0.0))
        known = utterance.label or not shares.get(best)
        labelled.append(utterance if known else replace(utterance, label=best))
    return labelled


def read_targets(settings: TrainSettings, utterances: Sequence[Utterance], classes: Sequence[str]) -> Targets:
    """The targets of the utterances of a run, n; their labels are classes."""
    ratings = shares = None
    if settings.dimensions:
        values = [[getattr(u, name) for name in settings.dimensions] for u in utterances]
        ratings = torch.tensor(
            [[float("nan") if value is None else value for value in row] for row in values], dtype=torch.float32
        )
    if SOFT in settings.target:
        shares = _share_table(utterances, classes)
    return Targets(dimensions=settings.dimensions, ratings=ratings, shares=shares)


def target_warnings(settings: TrainSettings, utterances: Sequence[Utterance], left_out: int) -> list[str]:
    """What is missing in the targets of a run.

    Args:
        settings: settings of training.
        utterances: the utterances of the run.
        left_out: utterances of feats.h5 that are not among them.
    """
    warnings = []
    if not settings.has_classes:
        if left_out:
            warnings.append(
                f"{left_out} of {len(utterances) + left_out} utterances left out: they have no rating of "
                f"{' or '.join(settings.dimensions)}"
            )
        if len(settings.streams) > 1 and (settings.avel or settings.mem):
            warnings.append("ratings only: AVEL and MEM compare classes, and are not used")
    for name in settings.dimensions:
        if missing := sum(getattr(utterance, name) is None for utterance in utterances):
            warnings.append(f"{missing} of {len(utterances)} utterances have no rating of {name}")
    if SOFT in settings.target:
        warnings.append(f"soft labels: trained on the columns {SHARE_PREFIX}NAME, scored against the majority label")
        if hard := sum(not utterance.shares for utterance in utterances):
            warnings.append(f"{hard} of {len(utterances)} utterances have no soft label: trained on their label")
    return warnings


def check_training_ratings(targets: Targets, groups: Iterable[tuple[str, Tensor]]) -> None:
    """Raise TrainingError if the ratings of a training group are constant or missing: their CCC is undefined.

    Args:
        targets: the targets of the run.
        groups: description of each fold, and the rows of its training group.
    """
    if targets.ratings is None:
        return
    for fold, rows in groups:
        for name, column in zip(targets.dimensions, targets.ratings[rows].T, strict=True):
            rated = column[~column.isnan()]
            if len(rated) < 2 or bool((rated == rated[0]).all()):
                got = f"only {rated[0].item():g}" if len(rated) else "none"
                raise TrainingError(
                    f"{fold}: expected different ratings in the column {name} of the training group, got {got}; CCC is "
                    f"not defined for a constant: leave {name} out of train.target, or choose other folds"
                )


def _share_table(utterances: Sequence[Utterance], classes: Sequence[str]) -> Tensor:
    """Normalized shares (n, c); an utterance without a soft label has its label."""
    table = torch.zeros(len(utterances), len(classes), dtype=torch.float64)
    number: Mapping[str, int] = {name: column for column, name in enumerate(classes)}
    for row, utterance in enumerate(utterances):
        shares = {number[name]: share for name, share in utterance.shares if name in number}
        if not any(shares.values()):
            shares = {number[utterance.label]: 1.0}
        for column, share in shares.items():
            table[row, column] = share
    return (table / table.sum(1, keepdim=True)).float()
