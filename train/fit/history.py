"""How a fit went, epoch by epoch."""

from dataclasses import dataclass, replace

from torch import Tensor

from ..model.foalnet import FoalNet


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One line of history.csv: mean training losses of an epoch, and the development group's scores after it."""

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
class Course:
    """Epochs so far, the best of them with its network, and the epoch of the last gain in development UA."""

    best: Epoch | None
    history: tuple[Epoch, ...]
    last_gain: int
    best_state: dict[str, Tensor]

    def after(self, row: Epoch, model: FoalNet) -> "Course":
        """With one epoch more, after which the network is as it is now."""
        done = replace(self, history=(*self.history, row))
        if self.best is None or row.dev_ua > self.best.dev_ua:
            done = replace(done, last_gain=row.epoch)
        if self.best is None or (row.dev_ua, -row.dev_loss) > (self.best.dev_ua, -self.best.dev_loss):
            state = {name: value.clone() for name, value in model.state_dict().items()}
            done = replace(done, best=row, best_state=state)
        return done

    def waited(self, patience: int) -> bool:
        """Whether there was no gain for `patience` epochs."""
        return len(self.history) - self.last_gain >= patience
