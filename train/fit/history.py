"""Scores per epoch and history.csv, the best epoch so far, and the early-stopping rule."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from torch import Tensor

from ...shared.errors import StoreError
from ..model.networks import Network

_OPTIONAL = ("loss_ratings", "loss_fusion", "dev_ccc")
"""Columns that are left out if no epoch has a value."""
_NUMBERS = ("seed", "fold", "epoch")


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One line of history.csv: mean training losses of an epoch, and the development scores after it.

    The scores are None if the network is trained on the development group as well. UA and WA are None without classes,
    the loss of ratings and the CCC (the mean over the dimensions) without ratings.
    """

    seed: int
    fold: int
    epoch: int
    loss: float
    loss_classes: float
    loss_avel: float
    loss_mem: float
    dev_loss: float | None
    dev_ua: float | None
    dev_wa: float | None
    loss_ratings: float | None = None
    loss_fusion: float | None = None
    dev_ccc: float | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingHistory:
    """The epochs of a fit so far.

    Attributes:
        best: the best epoch (None: no epoch yet).
        history: all epochs.
        last_improvement: number of the last epoch that improved the development score.
        best_state: state dict of the network after the best epoch.
    """

    best: Epoch | None
    history: tuple[Epoch, ...]
    last_improvement: int
    best_state: dict[str, Tensor]

    def after(self, row: Epoch, model: Network, select: str = "ua") -> "TrainingHistory":
        """Append an epoch, after which the network is in its present state.

        Args:
            row: the epoch.
            model: the network.
            select: score by which the best epoch is chosen: ua, loss or last. Ties of UA are broken by the loss, since
                the UA of a small group changes in large steps.
        """
        updated = replace(self, history=(*self.history, row))
        score, best = _score(row, select), None if self.best is None else _score(self.best, select)
        if best is None or score[0] > best[0]:
            updated = replace(updated, last_improvement=row.epoch)
        if best is None or score > best:
            state = {name: value.clone() for name, value in model.state_dict().items()}
            updated = replace(updated, best=row, best_state=state)
        return updated

    def should_stop(self, patience: int | None) -> bool:
        """Whether the development score has not improved for `patience` epochs (None: never)."""
        return patience is not None and len(self.history) - self.last_improvement >= patience


def _score(row: Epoch, select: str) -> tuple[float, float]:
    """The score of an epoch and a score that breaks ties; larger is better."""
    if select == "last" or row.dev_loss is None:
        return (row.epoch, 0.0)
    if row.dev_ua is None:  # ratings only
        return (-row.dev_loss, 0.0)
    return (row.dev_ua, -row.dev_loss) if select == "ua" else (-row.dev_loss, row.dev_ua)


def write_history(path: Path, history: Sequence[Epoch]) -> None:
    """Write history.csv, one line per seed, fold and epoch."""
    with path.open("w", encoding="utf-8", newline="") as file:
        unused = {name for name in _OPTIONAL if all(getattr(row, name) is None for row in history)}
        names = [field.name for field in fields(Epoch) if field.name not in unused]
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        for row in history:
            writer.writerow({name: _rounded(getattr(row, name)) for name in names})


def read_history(path: Path) -> list[Epoch]:
    """Read history.csv. Raises StoreError if it is missing or damaged."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                Epoch(**{name: _value(name, text) for name, text in row.items()})  # type: ignore[arg-type]
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"{path}: expected the history.csv of a run of `foal train`: {error}") from None


def _rounded(value: float | None) -> float | str | None:
    return f"{value:.6f}" if isinstance(value, float) else value


def _value(name: str, text: str) -> int | float | None:
    if name in _NUMBERS:
        return int(text)
    return float(text) if text else None
