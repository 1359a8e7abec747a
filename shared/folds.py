"""Names of fixed training, development and test sets, as corpora and people spell them."""

from typing import Literal

FoldRole = Literal["train", "dev", "test"]

_ROLES: dict[str, FoldRole] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("dev", "devel", "development", "val", "valid", "validation"), "dev"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}


def fold_role(name: str) -> FoldRole | None:
    """The set that the name of a fold denotes, in any case, with or without `set`; None for another name.

    `eval` is not among them: it means the test set in some corpora and the development set in others.
    """
    plain = name.strip().casefold()
    return _ROLES.get(plain) or _ROLES.get(plain.removesuffix("set").rstrip("-_ "))
