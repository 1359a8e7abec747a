"""Scores per epoch, the best epoch so far, and the early-stopping rule."""

from dataclasses import dataclass, replace

from torch import Tensor

from ..model.foalnet import FoalNet


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One line of history.csv: mean training losses of an epoch, and the development scores after it."""

    seed: int
    fold: int
    epoch: int
    loss: float
    loss_classes: float
    loss_avel: float
    loss_mem: float
    dev_loss: float
    dev_ua: float
    dev_wa: float


@dataclass(frozen=True, kw_only=True)
class TrainingHistory:
    """The epochs of a fit so far.

    Attributes:
        best: the best epoch (None: no epoch yet).
        history: all epochs.
        last_improvement: number of the last epoch that improved the development UA.
        best_state: state dict of the network after the best epoch.
    """

    best: Epoch | None
    history: tuple[Epoch, ...]
    last_improvement: int
    best_state: dict[str, Tensor]

    def after(self, row: Epoch, model: FoalNet) -> "TrainingHistory":
        """Append an epoch, after which the network is in its present state."""
        updated = replace(self, history=(*self.history, row))
        if self.best is None or row.dev_ua > self.best.dev_ua:
            updated = replace(updated, last_improvement=row.epoch)
        if self.best is None or (row.dev_ua, -row.dev_loss) > (self.best.dev_ua, -self.best.dev_loss):
            state = {name: value.clone() for name, value in model.state_dict().items()}
            updated = replace(updated, best=row, best_state=state)
        return updated

    def should_stop(self, patience: int) -> bool:
        """Whether the development UA has not improved for `patience` epochs."""
        return len(self.history) - self.last_improvement >= patience
