"""One fold: train until the development group's UA stops growing, and give back the best epoch's network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812  (its usual name)

from ..shared.errors import TrainingError
from ..shared.settings import TrainSettings
from .batches import training_batches
from .data import Dataset, collate, frame_statistics
from .metrics import confusion, unweighted_accuracy, weighted_accuracy
from .model import Architecture, FoalNet, build
from .objective import objective
from .predict import predict
from .projection import Projection
from .protocol import Fold


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One line of history.csv: mean training losses of an epoch, and the development group's scores after it."""

    seed: int
    fold: int
    epoch: int
    loss: float
    loss_classes: float
    loss_align: float
    loss_match: float
    dev_loss: float
    dev_ua: float
    dev_wa: float


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The network as it was after its best epoch, counted from 1."""

    model: FoalNet
    epoch: int
    history: tuple[Epoch, ...]


def fit(data: Dataset, fold: Fold, settings: TrainSettings, *, seed: int, progress: Callable[[Epoch], None]) -> Fitted:
    """Train on fold.train_rows, stop by fold.dev_rows, never look at fold.test_rows.

    The epoch with the best development UA is kept; a small group's UA moves in large steps, so among equals the one
    with the lowest development loss. `patience` counts from the first of the equals. The same seed, data and number of
    threads give the same network, and the caller's random state is left alone. Raises TrainingError if a loss is no
    longer a number.
    """
    device = data.device
    # Three streams of chance, so that switching a loss off leaves initial weights and batches what they were.
    weights_seed, batches_seed, pairs_seed = _seeds(seed, fold.number)
    batches_chance = torch.Generator().manual_seed(batches_seed)
    pairs_chance = torch.Generator(device).manual_seed(pairs_seed)
    with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type=device.type):
        torch.manual_seed(weights_seed)
        model = build(_architecture(data, settings)).to(device)
        _standardise(model, data, fold)
        optimizer = _optimizer(model, settings)
        labels, wide = data.labels.cpu(), 4 * settings.batch_size  # nothing is kept for a gradient in evaluation
        dev_labels = labels[fold.dev_rows]
        history: list[Epoch] = []
        best: Epoch | None = None
        best_state, last_gain = model.state_dict(), 0
        for epoch in range(1, settings.epochs + 1):
            batches = training_batches(
                fold.train_rows, labels, data.lengths, batch_size=settings.batch_size, generator=batches_chance
            )
            losses = _train(model, data, batches, optimizer, settings, pairs_chance)
            row = _epoch(seed, fold, epoch, losses, predict(model, data, fold.dev_rows, batch_size=wide), dev_labels)
            if not np.isfinite([row.loss, row.dev_loss]).all():
                raise TrainingError(
                    f"fold {fold.number}, epoch {epoch}: the loss is no longer a number; "
                    f"lower train.learning_rate ({settings.learning_rate:g})"
                )
            history.append(row)
            progress(row)
            if best is None or row.dev_ua > best.dev_ua:
                last_gain = epoch
            if best is None or (row.dev_ua, -row.dev_loss) > (best.dev_ua, -best.dev_loss):
                best, best_state = row, {name: value.clone() for name, value in model.state_dict().items()}
            if epoch - last_gain >= settings.patience:
                break
    assert best is not None  # settings.epochs is at least 1
    model.load_state_dict(best_state)
    return Fitted(model=model.eval(), epoch=best.epoch, history=tuple(history))


def _train(
    model: FoalNet, data: Dataset, batches: list[torch.Tensor], optimizer: torch.optim.Optimizer,
    settings: TrainSettings, generator: torch.Generator,
) -> list[float]:  # fmt: skip
    """One epoch; gives the mean of each loss over its draws. The device is waited for once, at the end."""
    model.train()
    sums = torch.zeros(4, device=data.device)
    for rows in batches:
        losses = objective(
            model, collate(data, rows), generator=generator,
            align_weight=settings.align_weight if settings.align else None,
            match_weight=settings.match_weight if settings.match else None,
        )  # fmt: skip
        optimizer.zero_grad()
        torch.autograd.backward(losses.total)
        optimizer.step()
        if model.alignment is not None:
            model.alignment.limit_scale()
        sums += torch.stack(losses).detach() * len(rows)
    means: list[float] = (sums / sum(map(len, batches))).tolist()
    return means


def _epoch(
    seed: int, fold: Fold, epoch: int, losses: list[float], probabilities: torch.Tensor, labels: torch.Tensor
) -> Epoch:
    counts = confusion(labels.numpy(), probabilities.argmax(1).numpy(), probabilities.shape[1])
    total, classes, align, match = losses
    return Epoch(
        seed=seed, fold=fold.number, epoch=epoch,
        loss=total, loss_classes=classes, loss_align=align, loss_match=match,
        dev_loss=float(F.nll_loss(probabilities.clamp(min=1e-12).log(), labels)),
        dev_ua=float(unweighted_accuracy(counts)), dev_wa=float(weighted_accuracy(counts)),
    )  # fmt: skip


def _architecture(data: Dataset, settings: TrainSettings) -> Architecture:
    return Architecture(
        frame_shapes={name: stream.frame_shape for name, stream in data.streams.items()},
        classes=len(data.classes), width=settings.width, heads=settings.heads, layers=settings.layers,
        dropout=settings.dropout, projection_dropout=settings.projection_dropout,
    )  # fmt: skip


def _standardise(model: FoalNet, data: Dataset, fold: Fold) -> None:
    for name, projection in model.projections.items():
        assert isinstance(projection, Projection)
        projection.standardise_by(*frame_statistics(data.streams[name], fold.train_rows))


def _optimizer(model: FoalNet, settings: TrainSettings) -> torch.optim.Optimizer:
    # Decay is for matrices: it would pull the log scale, norms and placeholders to zero for no reason.
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


def _seeds(seed: int, fold: int) -> list[int]:
    return [int(state) for state in np.random.SeedSequence([seed, fold]).generate_state(3)]
