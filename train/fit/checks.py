"""The check of a run's targets before anything is fitted."""

from ..data.dataset import Dataset
from ..data.protocol import CrossValidation, check_classes
from ..targets.columns import check_training_ratings


def check_targets(data: Dataset, folds: CrossValidation) -> None:
    """Raise TrainingError if a training group lacks a class, or its ratings of a dimension are missing or constant."""
    if data.classes:
        check_classes(folds.folds, data.labels, data.classes)
    named = (
        (f"fold {fold.number} (test {fold.test}, development {fold.dev})", fold.train_rows) for fold in folds.folds
    )
    check_training_ratings(data.targets, named)
