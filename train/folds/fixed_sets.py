"""Folds of the manifest that are fixed sets: train, dev and test, in any of their spellings."""

from collections.abc import Sequence

from ...shared.errors import TrainingError
from ...shared.folds import fold_role
from .plan import natural_key


def fixed_roles(folds: Sequence[str], dev_from_train: float | None) -> tuple[str, ...] | None:
    """The set of each utterance (train, dev or test) if the folds are such sets; None for folds to rotate.

    Raises TrainingError for a set that is missing, and for other folds beside the sets.
    """
    names = sorted(set(folds), key=natural_key)
    roles = {name: fold_role(name) for name in names}
    found = set(roles.values())
    if not {"train", "test"} & found:
        return None
    if others := [name for name in names if roles[name] is None]:
        fixed = ", ".join(name for name in names if roles[name])
        raise TrainingError(
            f"the column fold has fixed sets ({fixed}) beside other folds ({', '.join(others[:10])}); expected train, "
            "dev and test, or folds without these names"
        )
    if found == {"train", "test"} and dev_from_train is None:
        raise TrainingError(
            f"the column fold has a training and a test set ({', '.join(names)}), but no development set, on which the "
            "epoch is chosen; take one from the training set with --dev-from-train 0.15, or mark rows with fold dev"
        )
    if not {"train", "test"} <= found:
        missing = "training" if "train" not in found else "test"
        raise TrainingError(f"the column fold has no {missing} set, got only {', '.join(names)}")
    return tuple(str(roles[name]) for name in folds)
