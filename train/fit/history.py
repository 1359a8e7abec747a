"""Scores per epoch, the best epoch so far, and the early-stopping rule."""

from dataclasses import dataclass, replace

from torch import Tensor

from ..model.networks import Network


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
